# SPDX-License-Identifier: MIT
# Validation loss along the tuning, by tokens: a panel for factors and one for dense products, a line with its interval per
# rank (share of the width of keys). The leftmost point of a line is before tuning.
# Data `curves`: panel (_ for spaces), series, tokens, loss, lo, hi.
load 'plots/style.gp'
panels = distinct(curves_panel)
n_panel = words(panels) > 0 ? words(panels) : 1
forms = distinct(curves_series)
style_of(form) = style_(form, 1)
style_(form, i) = i > words(forms) ? 9 : word(forms, i) eq form ? i : style_(form, i + 1)
spaced(text) = strlen(text) == 0 ? '' : (text[1:1] eq '_' ? ' ' : text[1:1]).spaced(text[2:*])
set multiplot
set tmargin at screen 0.87
set bmargin at screen 0.145
set logscale x
set autoscale xfixmax
set format x '%.0s%c'
set xlabel 'tokens tuned on (leftmost: none)' offset 0, 0.2
set format y '%.3f'
set offsets graph 0.02, graph 0.02, graph 0.02, 0
do for [p = 1:n_panel] {
	panel = word(panels, p)
	left = 0.095 + (p - 1) * 0.90 / n_panel
	set lmargin at screen left
	set rmargin at screen left + 0.90 / n_panel - 0.085
	if (p == 1) { set ylabel 'validation loss (nats per token), mean and 95 % interval' offset 0.5, 0 } else { unset ylabel }
	set label 1 spaced(panel) at graph 0.5, 1.035 center font ',13' noenhanced
	if (p == n_panel) { set key top right Left reverse noenhanced } else { unset key }
	plot for [b in blocks_of(curves_panel, panel)] curves_file index int(b) \
			using (column('tokens')):(column('loss')):(column('lo')):(column('hi')) \
			with yerrorbars ls style_of(word(curves_series, int(b) + 1)) dt 1 lw 1 pt -1 notitle, \
		for [b in blocks_of(curves_panel, panel)] curves_file index int(b) using (column('tokens')):(column('loss')) \
			with linespoints ls style_of(word(curves_series, int(b) + 1)) title word(curves_series, int(b) + 1)
	unset label 1
}
unset multiplot
