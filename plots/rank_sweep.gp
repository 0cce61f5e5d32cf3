# SPDX-License-Identifier: MIT
# Perplexity against the rank that keys or queries keep, a panel per model, a line per factoring; the paper's beside.
# Data `ours`: panel, series (_ for spaces), share (rank of the key width), change (%), lo, hi. `paper`: panel, series,
# share, change (%).
load 'plots/style.gp'
spaced(text) = strlen(text) == 0 ? '' : (text[1:1] eq '_' ? ' ' : text[1:1]).spaced(text[2:*])
panels = distinct(ours_panel)
n_panel = words(panels) > 0 ? words(panels) : 1
forms = distinct(ours_series)
style_of(form) = style_(form, 1)
style_(form, i) = i > words(forms) ? 9 : word(forms, i) eq form ? i : style_(form, i + 1)
times(percent) = percent > -99 ? 1 + percent / 100 : 0.01
set multiplot
set tmargin at screen 0.87
set bmargin at screen 0.145
set logscale y
set logscale x 2
set xtics ('1/6' 1./6, '1/4' 1./4, '1/3' 1./3, '1/2' 1./2, '2/3' 2./3)
set xlabel 'rank, share of the width of keys' offset 0, 0.2
set format y '%g'
set offsets graph 0.05, graph 0.05, graph 0.05, graph 0.02
set arrow 1 from graph 0, first 1 to graph 1, first 1 nohead ls 9
do for [p = 1:n_panel] {
	panel = word(panels, p)
	left = 0.095 + (p - 1) * 0.90 / n_panel
	set lmargin at screen left
	set rmargin at screen left + 0.90 / n_panel - 0.055
	if (p == 1) { set ylabel 'test perplexity, times that of the whole model' offset 0.5, 0 } else { unset ylabel }
	set label 1 spaced(panel) at graph 0.5, 1.035 center font ',13' noenhanced
	if (p == 1) { set key top right Left reverse noenhanced } else { unset key }
	plot for [b in blocks_of(ours_panel, panel)] ours_file index int(b) \
			using (column('share')):(times(column('change'))):(times(column('lo'))):(times(column('hi'))) \
			with yerrorbars ls style_of(word(ours_series, int(b) + 1)) dt 1 lw 1 pt -1 notitle, \
		for [b in blocks_of(ours_panel, panel)] ours_file index int(b) using (column('share')):(times(column('change'))) \
			with linespoints ls style_of(word(ours_series, int(b) + 1)) title spaced(word(ours_series, int(b) + 1)), \
		for [b in blocks_of(paper_panel, panel)] paper_file index (b eq '' ? 0 : int(b)) \
			using (column('share')):(b eq '' ? NaN : times(column('change'))) \
			with points ls 9 pt 10 ps 1.6 title (b eq '' ? '' : 'paper B, K of GPT-2 124M')
	unset label
}
unset multiplot
