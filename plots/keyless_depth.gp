# SPDX-License-Identifier: MIT
# Validation loss per epoch: a panel per task, a line with its interval per form.
# Data `curves`: panel (task), series (form), epoch, loss, lo, hi.
load 'plots/style.gp'
panels = distinct(curves_panel)
n_panel = words(panels) > 0 ? words(panels) : 1
forms = distinct(curves_series)
style_of(form) = style_(form, 1)
style_(form, i) = i > words(forms) ? 9 : word(forms, i) eq form ? i : style_(form, i + 1)
# Side by side, so that intervals can be told apart.
beside(epoch, form) = epoch + 0.08 * (style_of(form) - 0.5 * (words(forms) + 1))
set multiplot
set tmargin at screen 0.87
set bmargin at screen 0.145
set xlabel 'epoch' offset 0, 0.2
set xtics auto
set format y '%.2f'
# No loss is below 0, whatever the interval of three seeds says; the key stands above the curves.
set yrange [0<*:*]
set offsets graph 0, graph 0, graph 0.02, 0
do for [p = 1:n_panel] {
	panel = word(panels, p)
	left = 0.085 + (p - 1) * 0.91 / n_panel
	set lmargin at screen left
	set rmargin at screen left + 0.91 / n_panel - 0.055
	if (p == 1) { set ylabel 'validation loss (nats), mean and 95 % interval' offset 0.5, 0 } else { unset ylabel }
	set label 1 (panel eq 'text' ? 'text: per byte' : panel eq 'mqar' ? 'recall (mqar): per answer' : panel) \
		at graph 0.5, 1.035 center font ',13' noenhanced
	if (p == n_panel) { set key top right Left reverse noenhanced } else { unset key }
	plot for [b in blocks_of(curves_panel, panel)] curves_file index int(b) \
			using (beside(column('epoch'), word(curves_series, int(b) + 1))):(column('loss')):(column('lo') < 0 ? 0 : column('lo')):(column('hi')) \
			with yerrorbars ls style_of(word(curves_series, int(b) + 1)) dt 1 lw 1 pt -1 notitle, \
		for [b in blocks_of(curves_panel, panel)] curves_file index int(b) \
			using (beside(column('epoch'), word(curves_series, int(b) + 1))):(column('loss')) \
			with linespoints ls style_of(word(curves_series, int(b) + 1)) title word(curves_series, int(b) + 1)
	unset label
}
unset multiplot
