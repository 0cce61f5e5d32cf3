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
shown(percent) = percent > 0.01 ? percent : 0.01 # the axis is logarithmic: what is less lies on its floor
wide = 0.555 / n_panel # what is right of the panels is the legend's
set multiplot
set tmargin at screen 0.87
set bmargin at screen 0.145
set logscale y
set logscale x 2
set xtics ('1/6' 1./6, '1/4' 1./4, '1/3' 1./3, '1/2' 1./2, '2/3' 2./3) font ',10'
set xlabel 'rank, share of the width of keys' offset 0, 0.2
set format y '%g %%'
stats ours_file using (column('hi')) nooutput
set yrange [0.01:10**ceil(log10(STATS_max > 130 ? STATS_max : 130))]
set offsets graph 0.03, graph 0.03, 0, 0
do for [p = 1:n_panel] {
	panel = word(panels, p)
	left = 0.135 + (p - 1) * (wide + 0.03)
	set lmargin at screen left
	set rmargin at screen left + wide - 0.045
	if (p == 1) { set ylabel 'increase of test perplexity (0.01 %: that or less)' offset 0.8, 0 } else { unset ylabel }
	set label 1 spaced(panel) at graph 0.5, 1.035 center font ',13' noenhanced
	if (p == n_panel) { set key at screen 0.99, 0.86 right top Left reverse noenhanced } else { unset key }
	plot for [b in blocks_of(ours_panel, panel)] ours_file index int(b) \
			using (column('share')):(shown(column('change'))):(shown(column('lo'))):(shown(column('hi'))) \
			with yerrorbars ls style_of(word(ours_series, int(b) + 1)) dt 1 lw 1 pt -1 notitle, \
		for [b in blocks_of(ours_panel, panel)] ours_file index int(b) using (column('share')):(shown(column('change'))) \
			with linespoints ls style_of(word(ours_series, int(b) + 1)) title spaced(word(ours_series, int(b) + 1)), \
		for [b in blocks_of(paper_panel, panel)] paper_file index (b eq '' ? 0 : int(b)) \
			using (column('share')):(b eq '' ? NaN : shown(column('change'))) \
			with points ls 9 pt 10 ps 1.6 notitle, \
		keyentry with points ls 9 pt 10 ps 1.6 title 'paper B, K of GPT-2 124M'
	unset label
}
unset multiplot
