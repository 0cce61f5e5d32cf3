# SPDX-License-Identifier: MIT
# Tokens a second against context or batch, a panel per shape, a line per design, bars for the interval of the median.
# Data `ours`: panel (shape), series, x, y, lo, hi, axis (label of x).
load 'plots/style.gp'
panels = distinct(ours_panel)
all = distinct(ours_series)
n_panel = words(panels)
columns = n_panel > 4 ? 3 : n_panel > 1 ? 2 : 1
rows = (n_panel + columns - 1) / columns
height = 0.80 / rows
width = 0.74 / columns
spaced(text) = strlen(text) == 0 ? '' : (text[1:1] eq '-' ? ' ' : text[1:1] eq ',' ? ', ' : text[1:1]).spaced(text[2:*])
# One look for a series in all panels.
axis = word(ours_axis, 1) eq 'batch_(sequences)' ? 'batch (sequences)' : 'context (tokens)'
place(name_) = sum [i_ = 1:words(all)] (word(all, i_) eq name_ ? i_ : 0)
set multiplot
unset label 100
unset label 101
set logscale x 2
set logscale y 2
set format y '%g'
set offsets graph 0.05, graph 0.05, 0, 0
do for [p = 1:n_panel] {
	panel = word(panels, p)
	blocks = blocks_of(ours_panel, panel)
	column = (p - 1) % columns
	row = (p - 1) / columns
	set lmargin at screen 0.075 + column * width
	set rmargin at screen 0.075 + (column + 1) * width - 0.06
	set tmargin at screen 0.90 - row * height
	set bmargin at screen 0.90 - row * height - 0.72 * height
	set title panel noenhanced offset 0, -0.6
	set xlabel (row == rows - 1 ? axis : '') offset 0, 0.4
	set ylabel (column == 0 ? 'tokens a second' : '') offset 0.5, 0
	if (p == 1) {
		set label 100 title at screen 0.5, 0.972 center font ',17' noenhanced
		set label 101 footer at screen 0.5, 0.022 center font ',9' tc rgb '#555555' noenhanced
		set for [i = 1:words(all)] label 200 + i spaced(word(all, i)) at screen 0.838, 0.90 - 0.035 * i font ',10' noenhanced
		set for [i = 1:words(all)] arrow i from screen 0.795, 0.90 - 0.035 * i to screen 0.832, 0.90 - 0.035 * i \
			nohead ls (i - 1) % 8 + 1
	} else {
		unset label
		unset arrow
	}
	unset key
	plot for [b in blocks] ours_file index int(b) using (column('x')):(column('y')):(column('lo')):(column('hi')) \
			with yerrorbars ls (place(word(ours_series, int(b) + 1)) - 1) % 8 + 1 lw 1 dt 1 pt -1 notitle, \
		for [b in blocks] ours_file index int(b) using (column('x')):(column('y')) \
			with linespoints ls (place(word(ours_series, int(b) + 1)) - 1) % 8 + 1 notitle
}
unset multiplot
