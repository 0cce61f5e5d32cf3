# SPDX-License-Identifier: MIT
# Left: change of perplexity against the width of keys (Table 14). Right: against the cache, for all ways to a smaller one
# (Table 17). Ours with intervals, the paper's beside.
# Data `ours`, `paper`: share (d_select of d_model), change (%), lo, hi (ours alone).
# Data `cache`, `paper_cache`: form (_ for spaces), share (of MHA's cache), change (%), lo, hi (ours alone).
load 'plots/style.gp'
spaced(text) = strlen(text) == 0 ? '' : (text[1:1] eq '_' ? ' ' : text[1:1]).spaced(text[2:*])
set multiplot
set tmargin at screen 0.87
set bmargin at screen 0.145
set format y '%+.0f %%'
set arrow 1 from graph 0, first 0 to graph 1, first 0 nohead ls 9
set offsets graph 0.05, graph 0.05, graph 0.08, graph 0.05
set lmargin at screen 0.115
set rmargin at screen 0.49
set logscale x 2
set xtics ('1/32' 1./32, '1/16' 1./16, '1/8' 1./8, '1/4' 1./4, '1/2' 1./2, '1' 1)
set xlabel 'd_select, share of d_model' offset 0, 0.2 noenhanced
set ylabel 'test perplexity against full keys' offset 0.5, 0
set label 1 'thinner keys, by words' at graph 0.5, 1.035 center font ',13' noenhanced
set key top right Left reverse noenhanced
plot ours_file using (column('share')):(column('change')):(column('lo')):(column('hi')) with yerrorbars ls 1 lw 1 pt -1 notitle, \
	ours_file using (column('share')):(column('change')) with linespoints ls 1 title 'ours, 95 % interval', \
	paper_file using (column('share')):(column('change')) with linespoints ls 2 title 'paper B, Table 14'
unset label 1
unset logscale
set lmargin at screen 0.615
set rmargin at screen 0.97
set xtics auto
set xrange [0.2:1.15]
set format x '%.1f'
set xlabel 'cache, share of multi-head attention' offset 0, 0.2 noenhanced
set ylabel 'test perplexity against MHA' offset 0.5, 0
set label 1 'ways to a smaller cache, Llama' at graph 0.5, 1.035 center font ',13' noenhanced
# Two forms may have the same share: they stand beside each other.
beside(share, form) = share + (form[1:3] eq 'MLA' ? 0.02 : form[1:3] eq 'GQA' ? -0.02 : 0)
plot cache_file using (beside(column('share'), strcol('form'))):(column('change')):(column('lo')):(column('hi')) with yerrorbars ls 1 lw 1 title 'ours, 95 % interval', \
	cache_file using (beside(column('share'), strcol('form'))):(column('change')):(spaced(strcol('form'))) with labels left offset 0.8, 0.7 font ',10' noenhanced notitle, \
	paper_cache_file using (column('share')):(column('change')) with points ls 2 title 'paper B, Table 17'
unset multiplot
