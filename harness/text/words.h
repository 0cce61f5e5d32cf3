// SPDX-License-Identifier: MIT
// Word-level vocabularies as small language models on WikiText use them (reference B.2.3): lower-cased, split on
// Unicode's white space, <eos> at the end of each line; lines that are blank or a header (= ... =) are left out. Words
// that the training part has fewer than min_count times are <unk>, as is a word that is spelled so. Ids: <unk> 0,
// <eos> 1, then words by how often the training part has them, equals by their bytes.
#ifndef KVLAB_TEXT_WORDS_H
#define KVLAB_TEXT_WORDS_H
#include "harness/text/encode.h"
#ifdef __cplusplus
extern "C" {
#endif

enum { WORD_UNKNOWN, WORD_END, WORD_SPECIALS };

struct words_setting {
	int min_count;
	int n_vocab_most; // with <unk> and <eos>; 0: no limit
	// Ids of part 0 that are of the training part, of n in all.
	size_t (*n_train)(const struct corpus *corpus, size_t n);
};
// One encoded text for each part of the corpus, which must be UTF-8. 0, or -1 with a message.
int encode_words(struct encoded *out, int *n_vocab, const struct corpus *corpus, const struct words_setting *setting,
        struct err *err);

#ifdef __cplusplus
}
#endif
#endif
