# SPDX-License-Identifier: MIT
# What a smaller cache costs: change of perplexity against the cache that is left, ours with intervals, the paper's beside.
# Data `ours`: form (_ for spaces), cache (% of QKV's), change (%), lo, hi. Data `paper`: form, cache, change.
load 'plots/style.gp'
spaced(text) = strlen(text) == 0 ? '' : (text[1:1] eq '_' ? ' ' : text[1:1]).spaced(text[2:*])
set lmargin at screen 0.115
set rmargin at screen 0.97
set tmargin at screen 0.90
set bmargin at screen 0.145
set xrange [-4:112]
set offsets 0, 0, graph 0.06, graph 0.04
set format y '%+.0f %%'
set xlabel 'cache left (% of bytes per token of QKV)' offset 0, 0.2
set ylabel 'test perplexity against QKV' offset 0.5, 0
set arrow 1 from graph 0, first 0 to graph 1, first 0 nohead ls 9
set key top left Left reverse noenhanced
plot ours_file using (column('cache') - 0.6):(column('change')):(column('lo')):(column('hi')) with yerrorbars ls 1 lw 1 title 'ours, 95 % interval over seeds', \
	ours_file using (column('cache') - 0.6):(column('change')):(spaced(strcol('form'))) with labels left offset 0.8, 0.7 font ',11' noenhanced notitle, \
	paper_file using (column('cache') + 0.6):(column('change')) with points ls 2 title 'paper C, Table 4', \
	paper_file using (column('cache') + 0.6):(column('change')):(spaced(strcol('form'))) with labels left offset 0.8, -0.5 font ',9' tc rgb '#d55e00' noenhanced notitle
