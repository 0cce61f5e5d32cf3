// SPDX-License-Identifier: MIT
// A model family is a row of defaults over the one table of model options, with published sizes as presets, and tables
// that say how its files of weights are to be read: data, not code. One file per family exports
// `const struct family family_<name>`; the registry finds it by its file name (family_<name>.c).
#ifndef KVLAB_MODEL_FAMILY_H
#define KVLAB_MODEL_FAMILY_H
#ifdef __cplusplus
extern "C" {
#endif

struct family_default {
	const char *key, *value; // as in a spec's `model:` section
};
#define FAMILY_SET(...)                                                                                                \
	(const struct family_default[])                                                                                \
	{                                                                                                              \
		__VA_ARGS__,                                                                                           \
		{                                                                                                      \
			NULL, NULL                                                                                     \
		}                                                                                                      \
	}

// --- files of weights (harness/pretrained reads and writes them by these tables) ------------------------------------

// A value of the file's configuration (config.json, the header of a .gguf or .bin) and the model option that it is.
struct family_key {
	const char *key;    // "n_embd"; "a.b" is b in object a; "a|b" are spellings of one thing, the first is written
	const char *option; // the model option that takes the value; NULL: it is only looked at
	const char
	        *otherwise; // what a file without the key means, spelled as in the file; "4*n_embd"; NULL: it is needed
	// NULL: any value that the option takes. "gelu=gelu silu=swiglu": these words, and what the option calls them.
	// "=d_head", ">=n_ctx": numbers, compared with an option once all are set; null is accepted.
	const char *words;
};

// How rows of a parameter lie in the file's tensor.
enum tensor_form {
	TENSOR_PLAIN,      // (out, in), as here
	TENSOR_TRANSPOSED, // (in, out)
	TENSOR_BY_HEAD,    // the rows of part 0 of the first head, of part 1 of the first head, ..., of the second head
	TENSOR_NEIGHBOURS, // rows of a head in pairs (2i, 2i + 1) that rope turns; here (i, i + d_head / 2)
};
struct family_tensor {
	const char *param; // "w_q": a layer's when `name` has a %d, else the model's ("token")
	const char *name;  // "model.layers.%d.self_attn.q_proj.weight"
	enum tensor_form form;
	int part,
	        n_part; // the file's tensor holds n_part parameters of this size, this one is number `part`; 0, 0: one
	int own_part, n_own_part; // the parameter is made of n_own_part of the file's tensors; 0, 0: of one
};

struct family_format {
	const char *format;            // "safetensors", "gguf", "llama2c" (weights/weights.h)
	const char *type_key;          // the value that names the family; NULL: all files of the format are of this one
	const char *types;             // its words, "llama mistral"; the first is written
	const char *architectures;     // classes of the model, "LlamaForCausalLM ..."; NULL: the format does not say
	const struct family_key *keys; // ends with a NULL key
	const struct family_tensor *tensors; // ends with a NULL param
	const char *prefix;                  // of names, which some files leave out; NULL: none
	const char *const *ignored;          // tensors without meaning that old files have; ends with NULL; may be NULL
	const char *tied_without; // the head is the token table where the file lacks this tensor; NULL: a key says
};

// The part of config.json that all families with rotary positions have, in the spelling of today and of earlier years.
// base: the earlier name of the frequencies' base.
#define FAMILY_ROPE_KEYS(base)                                                                                         \
	{base "|rope_scaling.rope_theta|rope_parameters.rope_theta", "rope_base", "10000", NULL},                      \
	        {"rope_scaling.rope_type|rope_scaling.type|rope_parameters.rope_type", "rope_scaling", "default",      \
	                "default=none linear=linear llama3=llama3"},                                                   \
	        {"rope_scaling.factor|rope_parameters.factor", "rope_factor", "1", NULL},                              \
	        {"rope_scaling.low_freq_factor|rope_parameters.low_freq_factor", "rope_low", "0", NULL},               \
	        {"rope_scaling.high_freq_factor|rope_parameters.high_freq_factor", "rope_high", "0", NULL},            \
	{                                                                                                              \
		"rope_scaling.original_max_position_embeddings|rope_parameters.original_max_position_embeddings",      \
		        "rope_original_ctx", "0", NULL                                                                 \
	}

struct family {
	const char *name, *summary;
	const struct family_default *defaults; // ends with a NULL key
	const struct family *of;               // of a preset: the family whose defaults its own come on top of
	const struct family *presets;          // published sizes, to be named like families; ends with a NULL name
	const struct family_format *formats;   // ends with a NULL format; NULL: it has no files
};

#ifdef __cplusplus
}
#endif
#endif
