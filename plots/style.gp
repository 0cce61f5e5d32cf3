# SPDX-License-Identifier: MIT
# Looks that all plots share. Line styles differ in colour, dash and point, so that a grey print still tells them apart
# (colours: Okabe and Ito's, safe for colour-blind readers). Loaded first by each script.
set datafile separator tab
set datafile missing 'NaN'
set encoding utf8
set tics nomirror out
set border 3 lw 1
set grid ytics xtics lc rgb '#dddddd' lw 0.6 dt 1
set key opaque samplen 4 spacing 1.15
set style line 1 lc rgb '#000000' lw 1.8 dt 1 pt 7 ps 0.9
set style line 2 lc rgb '#d55e00' lw 1.8 dt 2 pt 5 ps 0.9
set style line 3 lc rgb '#0072b2' lw 1.8 dt 4 pt 9 ps 1.1
set style line 4 lc rgb '#009e73' lw 1.8 dt 5 pt 13 ps 1.2
set style line 5 lc rgb '#a8326e' lw 1.8 dt (6,3) pt 6 ps 1.0
set style line 6 lc rgb '#3d8fc4' lw 1.8 dt (18,5,3,5) pt 4 ps 1.0
set style line 7 lc rgb '#8a6d00' lw 1.8 dt (3,3) pt 8 ps 1.1
set style line 8 lc rgb '#e69f00' lw 1.8 dt (24,6) pt 12 ps 1.2
set style line 9 lc rgb '#666666' lw 1.2 dt 3      # reference lines
set style line 10 lc rgb '#7b5cd6' lw 1.8 dt (12,4,3,4) pt 10 ps 1.1
set linetype 1 lc rgb '#000000' dt 1

# Words of a text without repeats: panels in order of appearance.
distinct(words_) = (words_ eq '') ? '' : distinct_(words_, 1, '')
distinct_(words_, i_, seen_) = (i_ > words(words_)) ? seen_ : \
	distinct_(words_, i_ + 1, strstrt(' '.seen_.' ', ' '.word(words_, i_).' ') ? seen_ : \
	seen_.(seen_ eq '' ? '' : ' ').word(words_, i_))
# Block numbers of one panel.
blocks_of(panels_, panel_) = blocks_(panels_, panel_, 1, '')
blocks_(panels_, panel_, i_, out_) = (i_ > words(panels_)) ? out_ : \
	blocks_(panels_, panel_, i_ + 1, word(panels_, i_) eq panel_ ? out_.(out_ eq '' ? '' : ' ').(i_ - 1) : out_)
# The i-th word as a number.
number(words_, i_) = i_ < 1 || i_ > words(words_) || word(words_, i_) eq 'NaN' ? NaN : word(words_, i_) + 0.0

# Title on top, and below where the numbers come from.
set label 100 title at screen 0.5, 0.965 center font ',17' noenhanced
set label 101 footer at screen 0.5, 0.022 center font ',9' tc rgb '#555555' noenhanced
