# SPDX-License-Identifier: MIT
# The benches of a device on the emulated plugin, at sizes for a trial: they run from end to end, their rows are sound, and
# what cannot be is told.
. "$TOP/tests/lib.sh"
plugin=$BUILD/kvlab_cuda_emulated.so

check_exit 2 "a part that does not run there" "$KVLAB" bench --device "$plugin" --what tokenize
check "a part that does not run there: the sentence" grep -q "'tokenize' does not run on a device (train or decode)" stderr
check_exit 2 "no device" "$KVLAB" bench --device cpu --model tiny
check "no device: the sentence" grep -q "'cpu' is no device" stderr
if [[ ! -e $plugin ]]; then
	skip "the emulated device" "not built here: no g++, or a sanitizer's build"
	exit 0
fi
check_exit 0 "training" "$KVLAB" bench --device "$plugin" --model tiny --what train
check "it has three rows, captured" test "$(grep -c "; captured" stdout)" = 3
check "each beside the peak" test "$(grep -c "of the peak" stdout)" = 3
check "nothing is left out" test "$(grep -c "left out" stdout)" = 0
check "a trial meets no target" test "$(grep -c "met\|missed" stdout)" = 0
check_exit 0 "seconds of single steps" "$KVLAB" bench --device "$plugin" --model tiny --what train --steps-only --seconds 0
check "one a line" grep -qx "[0-9.]*" stdout
check "the batch beside them" grep -qx "batch 4" stderr
check_exit 0 "decoding" "$KVLAB" bench --device "$plugin" --model tiny --what decode
check "a step and eight calls of attention" test "$(grep -c "of the copy's" stdout)" = 9
check "its step is captured" grep -q "captured: .* tokens/s" stdout
check "nothing is left out of decoding" test "$(grep -c "left out" stdout)" = 0
check_exit 2 "a model that does not decode" "$KVLAB" bench --device "$plugin" --what train --model small
check "a model that is not trained: the sentence" grep -q "'small' is not trained on a device" stderr
