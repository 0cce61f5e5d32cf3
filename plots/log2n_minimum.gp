# SPDX-License-Identifier: MIT
# Least width that suffices against the number of keys: a panel per head count, a point per seed, the fit with the
# 95 % interval of its mean, and the papers' two lines.
# Data `points`: panel, n_key, minimum (NaN: none), is_censored, stack (how many seeds lie under this point), widest.
# Data `fit`: panel, slope, intercept, slope_half_width, x_mean, s_xx, residual_sd, q975, n, n_censored.
load 'plots/style.gp'
panels = distinct(points_panel)
n_panel = words(panels) > 0 ? words(panels) : 1
log2(x) = log(x) / log(2)
set multiplot
do for [p = 1:n_panel] {
	head = word(panels, p)
	blocks = blocks_of(points_panel, head)
	fits = blocks_of(fit_panel, head)
	f = words(fits) > 0 ? int(word(fits, 1)) + 1 : 0
	a = number(fit_intercept, f); b = number(fit_slope, f); half = number(fit_slope_half_width, f)
	x_mean = number(fit_x_mean, f); s_xx = number(fit_s_xx, f); sd = number(fit_residual_sd, f)
	q = number(fit_q975, f); n = number(fit_n, f); n_censored = f > 0 ? number(fit_n_censored, f) : 0
	mean(x) = a + b * log2(x)
	band(x) = q * sd * sqrt(1.0 / n + (log2(x) - x_mean)**2 / s_xx)
	left = 0.075 + (p - 1) * 0.92 / n_panel
	set lmargin at screen left
	set rmargin at screen left + 0.92 / n_panel - 0.045
	set tmargin at screen 0.87
	set bmargin at screen 0.145
	set logscale x 2
	set xrange [1.7:150]
	set yrange [0:22]
	set xtics (2, 4, 8, 16, 32, 64, 128)
	set ytics 2
	set xlabel 'number of keys N (log scale)' offset 0, 0.2
	if (p == 1) { set ylabel 'least d\_select per head with accuracy ≥ 0.99 (numbers)' offset 0.5, 0 } else { unset ylabel }
	set label 1 (head eq '1' ? '1 head' : head.' heads') at graph 0.5, 1.035 center font ',13'
	set key top left Left reverse
	fit_title = b == b ? sprintf('fit: %.2f %s %.2f log_2 N (slope ± %.2f)', a, b < 0 ? '-' : '+', abs(b), half) : 'no fit yet'
	none_title = n_censored > 0 ? sprintf('no width of the grid reaches 0.99 (%d)', n_censored) : ''
	set samples 200
	plot '+' using 1:(mean($1) - band($1)):(mean($1) + band($1)) with filledcurves lc rgb '#d0d0d0' title '95 % interval of the fit', \
		mean(x) with lines lc rgb '#000000' lw 2 dt 1 title fit_title, \
		log2(x) with lines lc rgb '#0072b2' lw 1.6 dt 2 title 'log_2 N', \
		2 * log2(x) with lines lc rgb '#d55e00' lw 1.6 dt 4 title '2 log_2 N', \
		for [k in blocks] points_file index int(k) \
			using (column('n_key') * 2**(0.09 * column('stack'))):(column('minimum')) \
			with points lc rgb '#000000' pt 6 ps 1.2 lw 1.6 title 'one seed (equal ones side by side)', \
		for [k in blocks] points_file index int(k) \
			using (column('n_key') * 2**(0.09 * column('stack'))):(column('is_censored') == 1 ? column('widest') + 1 : NaN) \
			with points lc rgb '#cc79a7' pt 10 ps 1.3 lw 1.6 title none_title
	unset label 100
	unset label 101
}
unset multiplot
