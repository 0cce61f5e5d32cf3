# SPDX-License-Identifier: MIT
# Measured gain against its ceiling, a mark per point, bars for the interval; on the diagonal all of the gain is there.
# Data `ours`: series (shape), ceiling, gain, lo, hi.
load 'plots/style.gp'
set lmargin at screen 0.09
set rmargin at screen 0.80
set tmargin at screen 0.90
set bmargin at screen 0.145
set logscale xy 2
set xtics (1, 1.25, 1.5, 2, 3, 4, 6, 8)
set ytics (0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 3, 4, 6, 8)
set format '%g'
set xlabel "ceiling of the gain, (W + T c) / (W + T c')" offset 0, 0.2
set ylabel 'measured gain over the published design' offset 0.5, 0
set key at screen 0.985, 0.90 top right Left reverse noenhanced
plot for [b = 0:ours_n - 1] ours_file index b using (column('ceiling')):(column('gain')):(column('lo')):(column('hi')) \
		with yerrorbars ls b % 8 + 1 dt 1 lw 1 title word(ours_series, b + 1), \
	x with lines ls 9 title 'all of it', \
	1 with lines ls 9 notitle
