# SPDX-License-Identifier: MIT
# Accuracy along the longest training: a panel per number of heads, a line per seed, looks by the form of the scores. A
# run that is right stops, so seeds are shown one by one: a mean over those still running would be one of failures.
# Data `seeds`: panel (1_heads, 4_heads), series (form and seed), form (~ for spaces), epoch, accuracy.
load 'plots/style.gp'
panels = distinct(seeds_panel)
n_panel = words(panels) > 0 ? words(panels) : 1
forms = distinct(seeds_form)
style_of(form) = style_(form, 1)
style_(form, i) = i > words(forms) ? 9 : word(forms, i) eq form ? i : style_(form, i + 1)
spaced(text) = strlen(text) == 0 ? '' : (text[1:1] eq '~' ? ' ' : text[1:1]).spaced(text[2:*])
set multiplot
set xrange [0:*]
set yrange [0:1.04]
set ytics 0.2
set tmargin at screen 0.87
set bmargin at screen 0.145
set xlabel 'epochs' offset 0, 0.2
do for [p = 1:n_panel] {
	panel = word(panels, p)
	left = 0.075 + (p - 1) * 0.92 / n_panel
	set lmargin at screen left
	set rmargin at screen left + 0.92 / n_panel - 0.03
	set format y (p == 1 ? '%.1f' : '')
	if (p == 1) { set ylabel 'validation accuracy, a line per seed' offset 0.5, 0 } else { unset ylabel }
	set label 1 (panel eq '1_heads' ? 'one head' : panel eq '4_heads' ? 'four heads' : panel) \
		at graph 0.5, 1.035 center font ',13' noenhanced
	if (p == n_panel) { set key at graph 0.97, 0.315 top right Left reverse noenhanced spacing 0.9 } else { unset key }
	plot for [b in blocks_of(seeds_panel, panel)] seeds_file index int(b) using (column('epoch')):(column('accuracy')) \
			with linespoints ls style_of(word(seeds_form, int(b) + 1)) lw 1.2 ps 0.6 notitle, \
		0.1 with lines ls 9 title 'guessing', \
		for [i = 1:words(forms)] NaN with linespoints ls i title spaced(word(forms, i))
	unset label
}
unset multiplot
