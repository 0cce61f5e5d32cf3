# SPDX-License-Identifier: MIT
# Accuracy against width per head: a panel per head count, a line per number of keys.
# Points of one width stand side by side, so that their intervals can be told apart.
# Data `points`: panel (n_head), series (n_key), d_select_per_head, accuracy, accuracy_lo, accuracy_hi.
load 'plots/style.gp'
panels = distinct(points_panel)
n_panel = words(panels) > 0 ? words(panels) : 1
beside(width, i, n) = width * (1 + 0.05 * (i - 0.5 * (n - 1)))
set multiplot
do for [p = 1:n_panel] {
	head = word(panels, p)
	blocks = blocks_of(points_panel, head)
	left = 0.075 + (p - 1) * 0.80 / n_panel
	set lmargin at screen left
	set rmargin at screen left + 0.80 / n_panel - 0.045
	set tmargin at screen 0.87
	set bmargin at screen 0.145
	set logscale x 2
	stats points_file using (column('d_select_per_head')) nooutput
	set xrange [0.8:STATS_max * 1.25]
	set yrange [0:1.04]
	set xtics (1, 2, 3, 4, 6, 8, 12, 16)
	set ytics 0.1
	set format y (p == 1 ? '%.1f' : '')
	set xlabel 'd\_select per head (numbers)' offset 0, 0.2
	if (p == 1) { set ylabel 'test accuracy (fraction), mean and 95 % interval' offset 0.5, 0 } else { unset ylabel }
	set label 1 (head eq '1' ? '1 head' : head.' heads') at graph 0.5, 1.035 center font ',13'
	if (p == n_panel) {
		set key at screen 0.985, 0.87 top right Left reverse title 'keys N' left
	} else {
		unset key
	}
	plot for [b in blocks] points_file index int(b) \
			using (beside(column('d_select_per_head'), int(b) % words(blocks), words(blocks))):(column('accuracy')): \
			(column('accuracy_lo')):(column('accuracy_hi')) \
			with yerrorbars ls (int(b) % words(blocks)) % 8 + 1 lw 1 dt 1 pt -1 notitle, \
		for [b in blocks] points_file index int(b) using \
			(beside(column('d_select_per_head'), int(b) % words(blocks), words(blocks))):(column('accuracy')) \
			with linespoints ls (int(b) % words(blocks)) % 8 + 1 title word(points_series, int(b) + 1), \
		0.99 with lines ls 9 title '0.99'
	unset label 100
	unset label 101
}
unset multiplot
