# SPDX-License-Identifier: MIT
# Least width that suffices against the number of keys: a panel per head count, a point per seed, the fit with the
# 95 % interval of its mean, and the papers' two lines.
# Data `points`: panel, n_key, minimum (NaN: none), is_censored, n_gap, stack (how many seeds lie under this point).
# Data `grid`: least_n_key, most_n_key, widest.
# Data `fit`: panel, slope, intercept, slope_half_width, x_mean, s_xx, residual_sd, q975, n, n_censored, n_unfinished.
load 'plots/style.gp'
panels = distinct(points_panel)
n_panel = words(panels) > 0 ? words(panels) : 1
log2(x) = log(x) / log(2)
or_else(x, otherwise) = x == x ? x : otherwise
least_n_key = or_else(number(grid_least_n_key, 1), 2)
most_n_key = or_else(number(grid_most_n_key, 1), 128)
widest = or_else(number(grid_widest, 1), 16)
# Room on top: for the seeds without any width and for the key.
edge = 1.10 * widest + 0.4
top = 1.55 * edge
y_step = widest > 10 ? 2 : 1
left_n = least_n_key / 1.35
right_n = most_n_key * 1.45
# The end of a line within the panel, for its label.
end_of(factor) = 2**((widest * 1.04 < factor * log2(right_n) ? widest * 1.04 : factor * log2(right_n) * 0.98) / factor)
set multiplot
do for [p = 1:n_panel] {
	head = word(panels, p)
	blocks = blocks_of(points_panel, head)
	fits = blocks_of(fit_panel, head)
	f = words(fits) > 0 ? int(word(fits, 1)) + 1 : 0
	a = number(fit_intercept, f); b = number(fit_slope, f); half = number(fit_slope_half_width, f)
	x_mean = number(fit_x_mean, f); s_xx = number(fit_s_xx, f); sd = number(fit_residual_sd, f)
	q = number(fit_q975, f); n = number(fit_n, f)
	n_censored = f > 0 ? number(fit_n_censored, f) : 0
	n_unfinished = f > 0 ? number(fit_n_unfinished, f) : 0
	mean(x) = a + b * log2(x)
	band(x) = q * sd * sqrt(1.0 / n + (log2(x) - x_mean)**2 / s_xx)
	left = 0.075 + (p - 1) * 0.92 / n_panel
	set lmargin at screen left
	set rmargin at screen left + 0.92 / n_panel - 0.045
	set tmargin at screen 0.87
	set bmargin at screen 0.145
	set logscale x 2
	set xrange [left_n:right_n]
	set yrange [0:top]
	set xtics 2
	set ytics 0, y_step
	set xlabel 'number of keys N (log scale)' offset 0, 0.2
	if (p == 1) { set ylabel 'least d\_select per head with accuracy ≥ 0.99 (numbers)' offset 0.5, 0 } else { unset ylabel }
	set label 1 (head eq '1' ? '1 head' : head.' heads') at graph 0.5, 1.035 center font ',13'
	set label 2 'log_2 N' at end_of(1), log2(end_of(1)) right offset -0.3, 0.9 textcolor rgb '#0072b2' front
	# a short line ends near the axis: its label stands behind it
	if (end_of(2) < left_n * (right_n / left_n)**0.3) {
		set label 3 '2 log_2 N' at end_of(2), 2 * log2(end_of(2)) left offset 0.6, 0 textcolor rgb '#b34700' front
	} else {
		set label 3 '2 log_2 N' at end_of(2), 2 * log2(end_of(2)) right offset -0.6, 0.5 textcolor rgb '#b34700' front
	}
	if (n_unfinished > 0) {
		set label 4 sprintf('unfinished, not shown: %d', n_unfinished) at graph 0.98, 0.03 right textcolor rgb '#555555'
	} else {
		unset label 4
	}
	set key top left Left reverse
	half_text = half == half ? sprintf(' (slope ± %.2f)', half) : ''
	fit_title = b == b ? sprintf('fit: %.2f %s %.2f log_2 N%s', a, b < 0 ? '-' : '+', abs(b), half_text) : 'no fit yet'
	band_title = half == half ? '95 % interval of the fit' : ''
	none_title = n_censored > 0 ? sprintf('no width up to %d reaches 0.99 (%d)', int(widest), n_censored) : ''
	set samples 200
	plot '+' using 1:(mean($1) - band($1)):(mean($1) + band($1)) with filledcurves lc rgb '#d0d0d0' title band_title, \
		mean(x) with lines lc rgb '#000000' lw 2 dt 1 title fit_title, \
		(log2(x) <= 1.06 * widest ? log2(x) : NaN) with lines lc rgb '#0072b2' lw 1.6 dt 2 notitle, \
		(2 * log2(x) <= 1.06 * widest ? 2 * log2(x) : NaN) with lines lc rgb '#d55e00' lw 1.6 dt 4 notitle, \
		for [k in blocks] points_file index int(k) \
			using (column('n_key') * 2**(0.12 * column('stack'))):(column('n_gap') == 0 ? column('minimum') : NaN) \
			with points lc rgb '#000000' pt 7 ps 1.1 title 'one seed (equal ones side by side)', \
		for [k in blocks] points_file index int(k) \
			using (column('n_key') * 2**(0.12 * column('stack'))):(column('n_gap') > 0 ? column('minimum') : NaN) \
			with points lc rgb '#000000' pt 6 ps 1.2 lw 1.8 title 'one seed; a wider one failed to train', \
		for [k in blocks] points_file index int(k) \
			using (column('n_key') * 2**(0.12 * column('stack'))):(column('is_censored') == 1 ? edge : NaN) \
			with points lc rgb '#9c4a7c' pt 9 ps 1.5 title none_title
	unset label 100
	unset label 101
}
unset multiplot
