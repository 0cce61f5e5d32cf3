# SPDX-License-Identifier: MIT
# What keyless attention changes of the perplexity, a place per family: ours with intervals, the paper's beside.
# Data `ours`: shape (_ for spaces), change (%), lo, hi, paper (%).
load 'plots/style.gp'
spaced(text) = strlen(text) == 0 ? '' : (text[1:1] eq '_' ? ' ' : text[1:1]).spaced(text[2:*])
set lmargin at screen 0.115
set rmargin at screen 0.97
set tmargin at screen 0.90
set bmargin at screen 0.145
set xrange [-0.5:4.5]
set offsets 0, 0, graph 0.12, graph 0.05
set format y '%+.0f %%'
set ylabel 'test perplexity of keyless (QVV(3)) against QKV' offset 0.5, 0
set arrow 1 from graph 0, first 0 to graph 1, first 0 nohead ls 9
set key top right Left reverse noenhanced
plot ours_file using ($0 - 0.06):(column('change')):(column('lo')):(column('hi')):xtic(spaced(strcol('shape'))) with yerrorbars ls 1 lw 1 title 'ours, 95 % interval over seeds', \
	ours_file using ($0 + 0.06):(column('paper')) with points ls 2 title 'paper A, Table 3'
