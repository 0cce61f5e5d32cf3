// SPDX-License-Identifier: MIT
// Models and setups in one line of text, for tests. A setting that is refused fails the test with the sentence.
#ifndef KVLAB_TESTS_MODEL_BUILD_H
#define KVLAB_TESTS_MODEL_BUILD_H
#include "harness/model/model.h"
#include "harness/spec/setup.h"
#ifdef __cplusplus
extern "C" {
#endif

// "key=value key=value" into a config that options_init has filled.
void build_options(const struct option *table, void *config, const char *settings);

// A config from a family's defaults and settings ("n_layer=2 d_model=12"), resolved for n_vocab tokens and T positions.
struct model_config *build_config(const char *family, const char *settings, int n_vocab, int T, struct arena *arena);

// A model of that config with memory, gradients and weights drawn from seed.
struct model *build_model(const struct model_config *config, const struct variant *variant, const void *variant_config,
        uint64_t seed, struct arena *arena);

// The same with the variant's settings as text.
struct model *build_variant(const struct model_config *config, const char *variant, const char *settings, uint64_t seed,
        struct arena *arena);

// A whole point for procedure `train`, checked. Settings as above, the first word of each text is the name:
// build_setup("decoder n_layer=1", "mha", "retrieval n_key=4", "steps=10", arena).
struct setup *build_setup(
        const char *model, const char *variant, const char *task, const char *train, struct arena *arena);

#ifdef __cplusplus
}
#endif
#endif
