# SPDX-License-Identifier: MIT
# kvlab. `make help` lists targets and switches. One file, not recursive; everything built lies in build/<config>/:
#   release              the default, and what build/kvlab points to
#   dev                  DEV=1: a long warning list as errors
#   san-address-undefined  SAN=address,undefined: slow, with checks (combines with DEV=1)
# Each config has a double/ flavour, the same sources with `real = double`, for gradient checks.

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif
.DEFAULT_GOAL := all

ifeq ($(origin CC),default)
CC := gcc
endif
DEV ?=
SAN ?=
V ?=
T ?=
comma := ,
empty :=
space := $(empty) $(empty)
Q := $(if $(V),,@)
say = $(if $(V),@true,@printf '  %-6s %s\n' $(1) $(2))

config := $(subst $(space),-,$(strip $(if $(DEV),dev) $(if $(SAN),san-$(subst $(comma),-,$(SAN)))))
config := $(or $(config),release)
out := build/$(config)

# --- needs -----------------------------------------------------------------------------------------------------
# What is missing is found (and where allowed installed) by tools/deps, which writes the flags of the libraries into
# an included file: make remakes that file first and starts again, so `make experiment` works on a bare machine.
goals := $(or $(MAKECMDGOALS),all)
test_goals := test check-gpu san-test tests deps
no_build_goals := help clean format check-format check-layers check-headers
# An experiment that does not exist is told before anything is installed or built.
E ?=
experiments := $(patsubst experiments/%.yaml,%,$(wildcard experiments/*.yaml))
ifeq ($(filter $(E),$(experiments)),)
no_build_goals += experiment
endif
M ?=
ifeq ($(M),)
no_build_goals += model
endif

ifneq ($(filter-out $(no_build_goals),$(goals)),)
tier := $(if $(filter $(test_goals),$(goals))$(findstring /tests/,$(goals)),test,run)
deps_file := build/deps-$(tier).mk
include $(deps_file)
build/deps-%.mk: tools/deps
	@CC='$(CC)' tools/deps $* $@
endif

# --- sources, by name of folder --------------------------------------------------------------------------------
variants := $(wildcard variants/*.c)
sources := $(wildcard harness/*.c harness/*/*.c harness/*/*/*.c) $(variants)
library := $(filter-out harness/cli/main.c,$(sources))
headers := $(wildcard harness/*.h harness/*/*.h harness/*/*/*.h variants/*.h tests/*.h tests/*/*.h)
test_sources := $(wildcard tests/*.c tests/*/*.c tests/*/*/*.c)
tests := $(foreach f,$(test_sources),$(if $(filter test_%,$(notdir $(f))),$(f)))
grads := $(foreach f,$(test_sources),$(if $(filter grad_%,$(notdir $(f))),$(f)))
# The rest of tests/ are helpers that every test may call.
helpers := $(filter-out $(tests) $(grads),$(test_sources))
# These layers never see `real` (check-layers holds them to it), so the double flavour takes their objects as they are.
not_real := $(filter harness/base/% harness/store/% harness/report/% harness/text/%,$(library))

objects = $(patsubst %.c,$(out)/$(1)%.o,$(2))
library_objects := $(call objects,,$(library))
double_objects := $(call objects,double/,$(filter-out $(not_real) harness/cli/%,$(library))) $(call objects,,$(not_real))
test_programs := $(patsubst %.c,$(out)/%,$(tests))
grad_programs := $(patsubst %.c,$(out)/%,$(grads))

# --- flags -----------------------------------------------------------------------------------------------------
# Never -ffast-math or -Ofast: they make isnan() false, and every guard against divergence dead. Contraction is said
# aloud because it is part of what a build's numbers are. The instruction set goes by name, so that one binary gives
# the same bits on every machine that runs it; MARCH=x86-64-v2 for a processor without AVX2, MARCH= for none.
MARCH ?= $(if $(filter x86_64,$(shell uname -m)),x86-64-v3)
warnings := -Wall -Wextra -Wno-missing-field-initializers
dev_warnings := -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wpointer-arith \
	-Wwrite-strings -Wvla -Wundef -Wformat-security -Wimplicit-fallthrough -Wduplicated-cond -Wlogical-op \
	-Wredundant-decls -Wnested-externs -Winit-self
optimise := $(if $(SAN),-O1 -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all,-O3)
CFLAGS ?=
flags := -std=gnu11 -g $(optimise) $(if $(MARCH),-march=$(MARCH)) -ffp-contract=fast -fno-math-errno \
	-fno-trapping-math -fopenmp -D_GNU_SOURCE $(warnings) $(if $(DEV),$(dev_warnings)) $(CFLAGS)
# Generated files are included as "generated/<name>.inc".
compile = $(CC) $(flags) -ffile-prefix-map=$(CURDIR)=. -I. -I$(out) $(LIB_CFLAGS) -MMD -MP -c -o $@
link = $(CC) $(flags) -rdynamic -o $@

# --- CUDA: a plugin beside the program, built where nvcc is found --------------------------------------------------
# It takes the program's own functions from the program that loads it, hence -rdynamic there. CUDA= turns it off.
# The emulated one is the same sources as C++ against tests/emulate, for tests on machines without a device. It has
# its own traps (alignment, bounds) and is left out of SAN builds, whose runtime does not follow its fibers.
# nvcc needs g++ beside it.
NVCC ?= $(firstword $(shell command -v nvcc 2>/dev/null) $(wildcard /usr/local/cuda/bin/nvcc))
CUDA ?= $(if $(SAN),,$(if $(shell command -v g++ 2>/dev/null),$(NVCC)))
CXX_EMULATE ?= $(if $(SAN),,$(shell command -v g++ 2>/dev/null))
all_kernels := $(sort $(wildcard harness/num/cuda/*.cu))
emulator := $(sort $(wildcard tests/emulate/*.cpp tests/emulate/*.cu))
cuda_folder := $(patsubst %/bin/nvcc,%,$(realpath $(NVCC)))
nccl := $(and $(wildcard $(cuda_folder)/include/nccl.h /usr/include/nccl.h),$(wildcard $(cuda_folder)/lib64/libnccl.so /usr/lib/x86_64-linux-gnu/libnccl.so))
kernels := $(filter-out harness/num/cuda/$(if $(nccl),ranks_none,ranks_nccl).cu,$(all_kernels))
cuda_headers := $(wildcard harness/num/cuda/*.cuh harness/num/cuda/*/*.cuh tests/emulate/*.cuh tests/emulate/*.h)
emulated_sources := $(filter-out harness/num/cuda/matmul.cu harness/num/cuda/ranks_none.cu,$(all_kernels)) $(emulator)
cuda_plugin := $(if $(CUDA),$(out)/kvlab_cuda.so)
emulated_plugin := $(if $(CXX_EMULATE),$(out)/kvlab_cuda_emulated.so)
cuda_library_folder := $(firstword $(wildcard $(cuda_folder)/lib64 $(cuda_folder)/lib /usr/lib/x86_64-linux-gnu))
nvcc_flags := -std=c++20 -O3 -gencode arch=compute_80,code=[sm_80,compute_80] -gencode arch=compute_90,code=sm_90 \
	-Xcompiler -fPIC,-fvisibility=hidden $(if $(DEV),-Werror all-warnings -Xcompiler -Wall$(comma)-Werror)
emulate_flags := -std=c++20 -g -O2 $(if $(MARCH),-march=$(MARCH)) -ffp-contract=fast -fPIC -fvisibility=hidden \
	-fsanitize=alignment,bounds -fsanitize-undefined-trap-on-error -Wall -Wextra -Wno-missing-field-initializers -Wno-unknown-pragmas \
	$(if $(DEV),-Werror) -Itests/emulate -I.
# Of kernels the compiler tells every access (tests/emulate/watch.cpp); not of the stand-in for a library's.
watch_flags := -fsanitize=thread --param tsan-instrument-func-entry-exit=0 --param tsan-distinguish-volatile=0

# --- what to build ---------------------------------------------------------------------------------------------
.PHONY: all tests
all: $(out)/kvlab $(cuda_plugin) $(if $(filter release,$(config)),build/kvlab) ## build build/kvlab (the default)

tests: $(out)/kvlab $(test_programs) $(grad_programs) $(cuda_plugin) $(emulated_plugin) ## build all test programs

build/kvlab: build/release/kvlab
	$(Q)ln -sf release/kvlab $@

$(out)/kvlab: $(out)/harness/cli/main.o $(out)/libkvlab.a
	$(call say,LINK,$@)
	$(Q)$(link) $^ $(LIBS) -lm

# Archives are made anew: an object whose source is gone must not stay in one.
$(out)/libkvlab.a: $(library_objects) $(out)/build_info.o
$(out)/double/libkvlab.a: $(double_objects) $(out)/build_info.o
$(out)/libtests.a: $(call objects,,$(helpers))
$(out)/double/libtests.a: $(call objects,double/,$(helpers))
$(out)/%.a: $(out)/object_list
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $(filter %.o,$^)

$(test_programs): $(out)/%: $(out)/%.o $(out)/libtests.a $(out)/libkvlab.a
	$(call say,LINK,$@)
	$(Q)$(link) $^ $(LIBS) $(TEST_LIBS) -lm

$(grad_programs): $(out)/%: $(out)/double/%.o $(out)/double/libtests.a $(out)/double/libkvlab.a
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(link) $^ $(LIBS) $(TEST_LIBS) -lm

$(out)/double/%.o: %.c $(out)/flags
	$(call say,CC,'$< (double)')
	@mkdir -p $(@D)
	$(Q)$(compile) -DKVLAB_DOUBLE $<

$(out)/%.o: %.c $(out)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(compile) $<

$(out)/build_info.o: $(out)/build_info.c $(out)/flags
	$(Q)$(compile) $<

$(out)/cuda/%.o: %.cu $(out)/cuda/flags
	$(call say,NVCC,$<)
	@mkdir -p $(@D)
	$(Q)$(CUDA) $(nvcc_flags) -Iharness/num/cuda/native -I. -MMD -MP -c -o $@ $<

$(out)/kvlab_cuda.so: $(patsubst %.cu,$(out)/cuda/%.o,$(kernels))
	$(call say,LINK,$@)
	$(Q)$(CUDA) -shared -o $@ $^ -L$(cuda_library_folder) -lcublasLt $(if $(nccl),-lnccl) -Xlinker -rpath,$(cuda_library_folder)

$(out)/emulated/%.o: % $(out)/emulated/flags
	$(call say,CXX,'$< (emulated)')
	@mkdir -p $(@D)
	$(Q)$(CXX_EMULATE) $(emulate_flags) $(if $(filter %.cu,$(filter-out tests/emulate/matmul.cu,$<)),$(watch_flags)) -MMD -MP -x c++ -c -o $@ $<

$(out)/kvlab_cuda_emulated.so: $(patsubst %,$(out)/emulated/%.o,$(emulated_sources))
	$(call say,LINK,$@)
	$(Q)$(CXX_EMULATE) -shared -o $@ $^

.SECONDARY:
-include $(shell find $(out) -name '*.d' 2>/dev/null)

# --- files that change only when what they say changes ------------------------------------------------------------
.PHONY: FORCE
FORCE:
# $(call filechk,text): replaces the target only if it would differ, so nothing that depends on it is rebuilt in vain.
define filechk
@mkdir -p $(@D)
@printf '%s\n' $(1) | cmp -s - $@ || printf '%s\n' $(1) >$@
endef
quote = '$(subst ','\'',$(1))'

$(out)/flags: FORCE
	$(call filechk,$(call quote,$(shell $(CC) -dumpfullversion) $(CC) $(flags) $(LIB_CFLAGS)))
$(out)/cuda/flags: FORCE
	$(call filechk,$(call quote,$(CUDA) $(nvcc_flags) $(kernels)))
$(out)/emulated/flags: FORCE
	$(call filechk,$(call quote,$(CXX_EMULATE) $(emulate_flags) $(watch_flags) $(emulated_sources)))
$(out)/object_list: FORCE
	$(call filechk,$(call quote,$(library) $(helpers)))

# The lists that fill the registry, from file names alone: a new file is a new row. $(call rows,MACRO,prefix,files)
rows = $(foreach f,$(sort $(3)),$(call quote,$(1)($(patsubst $(2)%.c,%,$(notdir $(f))))))
lists := $(addprefix $(out)/generated/,variant_list.inc task_list.inc family_list.inc procedure_list.inc)
$(out)/generated/variant_list.inc: FORCE
	$(call filechk,$(call rows,VARIANT,,$(variants)))
$(out)/generated/task_list.inc: FORCE
	$(call filechk,$(call rows,TASK,task_,$(wildcard harness/task/task_*.c)))
$(out)/generated/family_list.inc: FORCE
	$(call filechk,$(call rows,FAMILY,family_,$(wildcard harness/model/family_*.c)))
$(out)/generated/procedure_list.inc: FORCE
	$(call filechk,$(call rows,PROCEDURE,procedure_,$(wildcard harness/run/procedure_*.c)))
$(out)/generated/command_list.inc: FORCE
	$(call filechk,$(call rows,COMMAND,cmd_,$(wildcard harness/cli/cmd_*.c)))
# Only the registry sees the first four, only the command line the last: a new file rebuilds nothing else.
$(out)/harness/registry.o $(out)/double/harness/registry.o: | $(lists)
$(call objects,,$(filter harness/cli/%,$(sources))): | $(out)/generated/command_list.inc

# SQL is kept in .sql files and compiled in as text, so that the program needs no folder of its own at run time.
$(out)/generated/%.inc: harness/store/%.sql
	@mkdir -p $(@D)
	@sed 's/\\/\\\\/g; s/"/\\"/g; s/.*/"&\\n"/' $< >$@
$(call objects,,$(filter harness/store/%,$(sources))): \
	| $(patsubst harness/store/%.sql,$(out)/generated/%.inc,$(wildcard harness/store/*.sql))

# Which build this is: stored with every run.
commit = $(or $(shell git rev-parse -q --verify HEAD 2>/dev/null),unknown)
is_dirty = $(if $(shell git status --porcelain 2>/dev/null | head -n 1),1,0)
$(out)/build_info.c: FORCE
	$(call filechk,'#include "harness/base/build.h"' \
	'const struct build build_info = {"$(commit)"$(comma) $(is_dirty)$(comma) "$(shell $(CC) --version | head -n 1)"$(comma)' \
	'	"$(strip $(flags))"};')

# --- what to run -----------------------------------------------------------------------------------------------
.PHONY: experiment model plots tables bench bench-peers test check-gpu san-test check-layers check-headers check-format format
SCALE ?=
SEEDS ?=
JOBS ?=
MODEL ?=
TOKENIZER ?=
TEXT ?=
SET ?=
DEVICE ?=
ifeq ($(filter $(E),$(experiments)),)
experiment: ## E=name [SCALE= SEEDS= JOBS= MODEL= TOKENIZER= TEXT= SET= DEVICE=]: run an experiment, print its tables, draw its plots
	@echo "experiment: $(if $(E),there is no experiments/$(E).yaml,which one? say E=name); there are:" >&2
	@printf '  %s\n' $(or $(experiments),none) >&2
	@exit 2
else
experiment: build/kvlab
	@build/kvlab run experiments/$(E).yaml $(if $(SCALE),--scale '$(SCALE)') $(if $(SEEDS),--seeds '$(SEEDS)') \
		$(if $(JOBS),--jobs '$(JOBS)') $(if $(MODEL),--model '$(MODEL)') \
		$(if $(TOKENIZER),--tokenizer '$(TOKENIZER)') $(if $(TEXT),--text '$(TEXT)') $(if $(SET),--set '$(SET)') \
		$(if $(DEVICE),--device '$(DEVICE)')
endif

HUB ?=
model: $(if $(M),build/kvlab) ## M=name [HUB=URL]: fetch a published model into models/name; without M, which there are
	@tools/model $(if $(M),'$(M)') $(if $(HUB),--from '$(HUB)')

plots: build/kvlab ## draw every plot again, from results/results.db alone
	@build/kvlab plot --all

tables: build/kvlab ## print and write every table again, from results/results.db alone
	@build/kvlab table --all

bench: build/kvlab ## measure the training step and its ops against the machine's ceilings
	@OMP_WAIT_POLICY=active build/kvlab bench

PYTHON ?= python3
bench-peers: build/kvlab ## the same model and batch in PyTorch, text in HF tokenizers, in turns; skipped without [PYTHON= LLAMA_BENCH=]
	@if ! command -v '$(PYTHON)' >/dev/null; then echo "bench-peers: skipped: there is no $(PYTHON) here"; \
	elif ! '$(PYTHON)' -c 'import torch' 2>/dev/null; then \
		echo "bench-peers: skipped: $(PYTHON) cannot import torch (Debian: apt-get install python3-torch)"; \
	else '$(PYTHON)' tests/peers/bench_peers.py; fi
	@if '$(PYTHON)' -c 'import tokenizers' 2>/dev/null; then '$(PYTHON)' tests/peers/bench_tokenizers.py; \
	else echo "bench-tokenizers: skipped: no python that can import tokenizers (pip install tokenizers)"; fi
	@if test -n '$(LLAMA_BENCH)'; then '$(PYTHON)' tests/peers/bench_llama.py '$(LLAMA_BENCH)'; \
	else echo "bench-llama: skipped: give LLAMA_BENCH=path/to/llama-bench"; fi

test: tests ## build and run all tests [T=pattern] [DEV=1] [SAN=address,undefined]
	@MAKE_SWITCHES='DEV=$(DEV) SAN=$(SAN)' CC='$(CC)' tests/driver $(out) $(if $(T),'$(T)')

check-gpu: all tests ## everything that needs a CUDA device, with a report in results/published/gpu; 77 without one
	@tests/check_gpu $(out)

san-test: ## all tests that run code, under AddressSanitizer and UBSan
	@$(MAKE) --no-print-directory test SAN=address,undefined

check-layers: ## who includes whom, file lengths
	@tests/check_layers
check-headers: ## every header compiles alone, as C and as C++
	@CC='$(CC)' tests/check_headers
check-format: ## clang-format finds nothing to change
	@tests/check_format
format: ## clang-format everything in place
	@clang-format -i $(sources) $(headers) $(test_sources) $(all_kernels) $(emulator) $(cuda_headers)

# --- the rest --------------------------------------------------------------------------------------------------
.PHONY: deps clean help
deps: $(deps_file) ## find what is needed; install what is missing, or say how
	@CC='$(CC)' tools/deps test

clean: ## remove everything built
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 24
	@echo
	@echo 'switches: V=1 show commands, DEV=1 warnings are errors, SAN=address,undefined, MARCH=, CFLAGS=, T=test pattern'
