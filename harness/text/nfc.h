// SPDX-License-Identifier: MIT
// Unicode's normal form C, which some families bring text into before they split it. nfc.c is the only file that knows
// utf8proc.
#ifndef KVLAB_TEXT_NFC_H
#define KVLAB_TEXT_NFC_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

// Memory kept from text to text. Start from {0}.
struct nfc_work {
	char *text;
	int32_t *point;
	struct mark *mark;
	size_t n, room, n_point;
};
void nfc_work_release(struct nfc_work *work);

// The text in normal form: itself where it is already, else work's copy, valid until the next call; its bytes in *n.
// Bytes that are no UTF-8 stay, and characters do not combine across them.
const char *nfc(struct nfc_work *work, const char *text, size_t *n);

// A letter, mark, decimal digit or connector (regular expressions' \w).
int is_word_character(uint32_t c);

// "utf8proc 2.8.0, Unicode 15.0.0".
const char *nfc_library(void);

#ifdef __cplusplus
}
#endif
#endif
