# SPDX-License-Identifier: MIT
# Bytes of a cache against its context, a panel per shape, a line per design; the weights' bytes as a reference line.
# Data `ours`: panel (shape), series (design), context, gb, weights.
load 'plots/style.gp'
panels = distinct(ours_panel)
n_panel = words(panels)
columns = n_panel > 1 ? 2 : 1
rows = (n_panel + columns - 1) / columns
set multiplot
unset label 100
unset label 101
set logscale xy
set xtics ('512' 512, '4K' 4096, '32K' 32768, '128K' 131072, '1M' 1000000)
set format y '%g'
set xrange [400:1.3e6]
set yrange [0.001:1000]
do for [p = 1:n_panel] {
	panel = word(panels, p)
	blocks = blocks_of(ours_panel, panel)
	column = (p - 1) % columns
	row = (p - 1) / columns
	set lmargin at screen 0.095 + column * 0.385
	set rmargin at screen 0.095 + column * 0.385 + 0.31
	set tmargin at screen 0.895 - row * 0.42
	set bmargin at screen 0.895 - row * 0.42 - 0.315
	set title panel noenhanced offset 0, -0.6
	set xlabel (row == rows - 1 ? 'context (tokens)' : '') offset 0, 0.4
	set ylabel (column == 0 ? 'cache of a sequence (GB)' : '') offset 1.2, 0
	if (p == 1) {
		set label 100 title at screen 0.5, 0.972 center font ',17' noenhanced
		set label 101 footer at screen 0.5, 0.022 center font ',9' tc rgb '#555555' noenhanced
		set key at screen 0.995, 0.88 top right Left reverse font ',12' noenhanced
	} else {
		unset label 100
		unset label 101
		unset key
	}
	weights = number(ours_weights, int(word(blocks, 1)) + 1)
	first = int(word(blocks, 1))
	plot for [b in blocks] ours_file index int(b) using (column('context')):(column('gb')) \
			with linespoints ls int(b) - first + 1 title word(ours_series, int(b) + 1), \
		weights with lines ls 9 title 'weights, bf16'
}
unset multiplot
