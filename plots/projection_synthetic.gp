# SPDX-License-Identifier: MIT
# Accuracy of the six sharings: a panel per task, ours with intervals beside the published means.
# Data `ours`: panel (task), ordinal_sharing, sharing, accuracy, accuracy_lo, accuracy_hi.
# Data `papers`: panel (task), series (C, C_repeated, D), ordinal_sharing, accuracy.
load 'plots/style.gp'
panels = distinct(ours_panel)
n_panel = words(panels) > 0 ? words(panels) : 1
style_of(series) = series eq 'C' ? 2 : series eq 'D' ? 3 : 4
shift(series) = series eq 'C' ? 0.12 : series eq 'D' ? 0.36 : 0.24
# One key for all panels, drawn with the first: gnuplot's own would be no wider than a panel.
set label 11 'ours, 95 % interval over seeds' at screen 0.05, 0.92 left font ',12' point ls 1 offset 1, 0
set label 12 'paper C, Table 1' at screen 0.36, 0.92 left font ',12' point ls 2 offset 1, 0
set label 13 'paper C, repeated by its authors' at screen 0.56, 0.92 left font ',12' point ls 4 offset 1, 0
set label 14 'paper D' at screen 0.88, 0.92 left font ',12' point ls 3 offset 1, 0
unset key
set multiplot
set xrange [0.4:6.8]
set yrange [0:1.06]
set ytics 0.2
unset grid
set grid ytics lc rgb '#dddddd' lw 0.6 dt 1
do for [p = 1:n_panel] {
	task = word(panels, p)
	left = 0.075 + ((p - 1) % 3) * 0.31
	bottom = p > 3 ? 0.135 : 0.575
	set lmargin at screen left
	set rmargin at screen left + 0.285
	set bmargin at screen bottom
	set tmargin at screen bottom + 0.285
	set format y ((p - 1) % 3 == 0 ? '%.1f' : '')
	if ((p - 1) % 3 == 0) { set ylabel 'accuracy per token' offset 0.9, 0 } else { unset ylabel }
	set label 1 task at graph 0.5, 1.06 center font ',13' noenhanced
	set xtics rotate by 30 right ('QKV' 1, 'Q=K-V' 2, '(Q=K-V)+' 3, 'Q-K=V' 4, 'Q=K=V' 5, '(Q=K=V)+' 6) noenhanced font ',10'
	plot for [b in blocks_of(ours_panel, task)] ours_file index int(b) \
			using (column('ordinal_sharing') - 0.12):(column('accuracy')):(column('accuracy_lo')):(column('accuracy_hi')) \
			with yerrorbars ls 1 notitle, \
		for [b in blocks_of(papers_panel, task)] papers_file index int(b) \
			using (column('ordinal_sharing') + shift(word(papers_series, int(b) + 1))):(column('accuracy')) \
			with points ls style_of(word(papers_series, int(b) + 1)) notitle
	unset label
}
unset multiplot
