# SPDX-License-Identifier: MIT
# Perplexity after tuning against the bytes of the cache: a line per heads and thinness through its types, with intervals of
# the test text, and the front of what nothing smaller beats.
# Data `points`: series (_ for spaces), types, bytes, change (%), lo, hi. `front`: bytes, change.
load 'plots/style.gp'
style_of(b) = b < 9 ? b : 10
spaced(text) = strlen(text) == 0 ? '' : (text[1:1] eq '_' ? ' ' : text[1:1]).spaced(text[2:*])
set lmargin at screen 0.125
set rmargin at screen 0.97
set tmargin at screen 0.90
set bmargin at screen 0.145
set logscale x 2
set xlabel 'bytes of the cache per token, all layers (f16, q8, q4 keys, q4: right to left on a line)' offset 0, 0.2
set format y '%+.0f %%'
set ylabel 'test perplexity against the model as it was' offset -0.8, 0
set offsets graph 0.02, graph 0.02, graph 0.05, graph 0.02
set key top right Left reverse noenhanced
plot front_file using (column('bytes')):(column('change')) with steps lc rgb '#999999' lw 3 title 'front', \
	for [b = 1:words(points_series)] points_file index b - 1 \
		using (column('bytes')):(column('change')):(column('lo')):(column('hi')) with yerrorbars ls style_of(b) dt 1 lw 1 pt -1 notitle, \
	for [b = 1:words(points_series)] points_file index b - 1 using (column('bytes')):(column('change')) \
		with linespoints ls style_of(b) title spaced(word(points_series, b))
