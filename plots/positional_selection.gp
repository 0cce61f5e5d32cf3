# SPDX-License-Identifier: MIT
# Copy-back: accuracy (left) and steps to converge (right) against width per head, ours beside the paper's.
# Data `ours`: d_select_per_head, accuracy, accuracy_lo, accuracy_hi, steps_to_converge, steps_least, steps_most.
# Data `paper`: d_select_per_head, accuracy, steps_to_converge.
load 'plots/style.gp'
set multiplot
set logscale x 2
set xrange [0.85:19]
set xtics (1, 2, 4, 8, 16)
set xlabel 'd\_select per head (numbers)' offset 0, 0.2
set tmargin at screen 0.87
set bmargin at screen 0.145
set lmargin at screen 0.075
set rmargin at screen 0.49
set yrange [0:1.04]
set ytics 0.1
set format y '%.1f'
set ylabel 'accuracy (fraction)' offset 0.5, 0
set key bottom right Left reverse width -6
set label 1 'accuracy' at graph 0.5, 1.035 center font ',13'
plot ours_file using (column('d_select_per_head')):(column('accuracy')):(column('accuracy_lo')):(column('accuracy_hi')) \
		with yerrorlines ls 1 dt 1 title 'ours: test, mean and 95 % interval', \
	paper_file using (column('d_select_per_head')):(column('accuracy')) \
		with linespoints ls 2 pt 4 ps 1.6 title 'paper B, Table 12: best of one seed'
unset label 100
unset label 101
set lmargin at screen 0.575
set rmargin at screen 0.985
set yrange [0:*<10000]
set offsets 0, 0, graph 0.2, 0
set ytics auto
set format y '%.0f'
set ylabel 'steps until validation accuracy ≥ 0.99' offset 0.5, 0
set key top right Left reverse width -6
set label 1 'steps to converge' at graph 0.5, 1.035 center font ',13'
plot ours_file using (column('d_select_per_head')):(column('steps_to_converge')):(column('steps_least')):(column('steps_most')) \
		with yerrorlines ls 1 dt 1 title 'ours: median, bar from least to most', \
	paper_file using (column('d_select_per_head')):(column('steps_to_converge')) \
		with linespoints ls 2 pt 4 ps 1.6 title 'paper B, Table 12'
unset multiplot
