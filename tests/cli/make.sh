# SPDX-License-Identifier: MIT
# The Makefile and tools/deps: what is rebuilt when, and what a user is told.
. "$TOP/tests/lib.sh"

has() # FILE TEXT
{
	grep -qF -- "$2" "$1" || {
		echo "'$2' is not in $1:"
		cat "$1"
		return 1
	}
}

lists_experiments()
{
	local spec
	for spec in "$TOP"/experiments/*.yaml; do
		[[ ! -e $spec ]] || has stderr "$(basename "$spec" .yaml)" || return
	done
}
check_exit 2 "an experiment without a name is refused" make -C "$TOP" experiment
check "and those that exist are listed" lists_experiments
check_exit 2 "an unknown experiment is refused" make -C "$TOP" --no-print-directory experiment E=no_such_thing
check "by its name" has stderr "there is no experiments/no_such_thing.yaml"
check "nothing is built for it" test ! -s stdout
check_exit 0 "help" make -C "$TOP" help
check "help lists targets" has stdout "make experiment"

# A tree of base alone shows what is rebuilt, in a second.
mkdir -p tree/harness
cp -r "$TOP/Makefile" "$TOP/tools" tree
cp -r "$TOP/harness/base" tree/harness
library=build/release/libkvlab.a
build()
{
	touch built # every object that is younger was compiled by this call
	sleep 0.02
	make -C tree $library "$@"
}
compiled()
{
	(cd tree/build/release && find harness -name '*.o' -newer ../../../built | sort | tr '\n' ' ')
}
is() # WHAT EXPECTED
{
	[[ $1 == "$2" ]] || {
		echo "'$1', expected '$2'"
		return 1
	}
}
n_source=$(find tree/harness -name '*.c' | wc -l)
check "a library is built" build
check "of every source" is "$(compiled | wc -w)" "$n_source"
check "make again" build
check "compiles nothing" is "$(compiled)" ""
touch tree/harness/base/hash.h
check "make after a header changed" build
users=$(cd tree && grep -lE 'include "harness/base/hash.h"' harness/base/*.c | sed 's/c$/o/' | sort | tr '\n' ' ')
check "compiles its users" is "$(compiled)" "$users"
check "make with another flag" build CFLAGS=-DSOME_FLAG
check "compiles all" is "$(compiled | wc -w)" "$n_source"
rm tree/harness/base/hash.c
check "make without a source" build CFLAGS=-DSOME_FLAG
members=$(ar t tree/$library | grep -c '^hash.o')
check "takes its object out" is "$members" 0

# deps, where something is missing: a PATH with all programs but gnuplot, and no root.
mkdir bin home
for program in bash env cat sed grep find dirname mkdir mv rm mktemp tail gcc pkg-config sqlite3 clang-format; do
	[[ -z $(command -v $program) ]] || ln -s "$(command -v $program)" bin
done
printf '#!/bin/sh\necho 1000\n' >bin/id
printf '#!/bin/sh\nexit 1\n' >bin/sudo
chmod +x bin/id bin/sudo
deps()
{
	env PATH="$PWD/bin" HOME="$PWD/home" CC=gcc "$BASH" "$TOP/tools/deps" run flags.mk
}
check_exit 2 "deps on a system without apt stops" deps
check "and names what it looked for" has stderr "program gnuplot"
printf '#!/bin/sh\ntouch apt_was_called\n' >bin/apt-get
chmod +x bin/apt-get
check_exit 2 "deps without root stops" deps
check "and prints the line to run" has stderr \
	"sudo apt-get update && sudo apt-get install -y --no-install-recommends gnuplot-nox"
check "apt is not called" test ! -e apt_was_called
printf '#!/bin/sh\necho 0\n' >bin/id
printf '#!/bin/sh\necho "E: no network"\nexit 100\n' >bin/apt-get
check_exit 2 "deps where apt fails stops" deps
check "it had announced what it installs" has stderr "installing: gnuplot-nox"
check "it shows what apt said" has stderr "E: no network"
check "no flags were written" test ! -e flags.mk
rm -f "$(sed -n 's/.*whole output: \([^)]*\)).*/\1/p' stderr)"
