# SPDX-License-Identifier: MIT
# Accuracy against the number of pairs, a line with its interval per design. Points of one number stand side by side.
# Data `ours`: series (design), n_pair, accuracy, accuracy_lo, accuracy_hi.
load 'plots/style.gp'
beside(n_pair, i, n) = n_pair * (1 + 0.022 * (i - 0.5 * (n - 1)))
set style line 10 lc rgb '#7f3fbf' lw 1.8 dt 3 pt 10 ps 1.1
set style line 11 lc rgb '#556b2f' lw 1.8 dt (12,3) pt 11 ps 1.1
set style line 12 lc rgb '#b22222' lw 1.8 dt (2,4) pt 15 ps 1.0
look(i) = i < 8 ? i + 1 : i + 2
set lmargin at screen 0.075
set rmargin at screen 0.80
set tmargin at screen 0.90
set bmargin at screen 0.145
set logscale x 2
set offsets graph 0.03, graph 0.03, 0, 0
set yrange [0:1.04]
set ytics 0.2
set format y '%.1f'
set xlabel 'key-value pairs in a sequence' offset 0, 0.2
set ylabel 'test accuracy (fraction), mean and 95 % interval' offset 0.5, 0
set key at screen 0.985, 0.90 top right Left reverse noenhanced
n = ours_n
plot for [b = 0:n - 1] ours_file index b \
		using (beside(column('n_pair'), b, n)):(column('accuracy')):(column('accuracy_lo')):(column('accuracy_hi')) \
		with yerrorbars ls look(b) lw 1 dt 1 pt -1 notitle, \
	for [b = 0:n - 1] ours_file index b using (beside(column('n_pair'), b, n)):(column('accuracy')) \
		with linespoints ls look(b) title word(ours_series, b + 1)
