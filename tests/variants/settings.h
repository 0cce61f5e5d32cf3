// SPDX-License-Identifier: MIT
// Shapes of models and settings of variants, found without knowing any variant: whatever is registered is covered.
#ifndef KVLAB_TESTS_VARIANTS_SETTINGS_H
#define KVLAB_TESTS_VARIANTS_SETTINGS_H
#include "harness/base/rng.h"
#include "harness/model/model.h"
#ifdef __cplusplus
extern "C" {
#endif

// The model shapes that every variant is tried in, a NULL at the end: settings over a family's defaults.
struct settings_shape {
	const char *family, *settings;
};
extern const struct settings_shape settings_shapes[];
enum { SETTINGS_VOCAB = 13, SETTINGS_T = 12 };

// A config for the shape with n_ctx positions, memory from arena.
struct model_config *settings_config(const struct settings_shape *shape, int n_ctx, struct arena *arena);
// One of its own: random dimensions, small.
struct model_config *settings_random_config(struct rng *rng, struct arena *arena);

// Fills every option of the variant with a random value of its range; small ones and those that a model's dimensions
// suggest are likelier.
void settings_draw(void *config, const struct variant *variant, const struct attn_dims *dims, struct rng *rng);
// A setting that the variant's check accepts: the defaults, else the first of some thousand draws. NULL when none is
// found, with the last refusal in err.
void *settings_find(const struct variant *variant, const struct attn_dims *dims, struct rng *rng, struct arena *arena,
        struct err *err);
// That setting, then one with each value of each choice, the rest drawn. Fills config (SETTINGS_MOST) and returns how
// many there are: 0 when none is accepted at all; a choice that nothing accepted comes with is left out.
enum { SETTINGS_MOST = 32 };
int settings_find_all(const struct variant *variant, const struct attn_dims *dims, struct rng *rng, struct arena *arena,
        void **config, struct err *err);
// Writes choice number i of an option (a choice or a bool); 0 when there are fewer.
int settings_choice(const struct option *o, int i, char *text, size_t size);
// "d_select=4 ...": for messages.
const char *settings_text(const struct variant *variant, const void *config, struct arena *arena);

#ifdef __cplusplus
}
#endif
#endif
