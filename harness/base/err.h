// SPDX-License-Identifier: MIT
// Errors of the user's or the world's making: a function returns -1 and leaves one finished message here.
// The first message sticks, so the cause is reported and not its consequences. Only main() prints and exits.
// Message grammar: place and fault first, lower case, subject in quotes, remedy last, no full stop:
//     experiments/a.yaml:12:3: unknown key 'd_selct' (did you mean 'd_select'?)
// Our own bugs are not errors: BUG() prints and aborts, in release builds too.
#ifndef KVLAB_BASE_ERR_H
#define KVLAB_BASE_ERR_H
#ifdef __cplusplus
extern "C" {
#endif

struct err {
	int is_set;
	int is_fault; // of the world, not of what the user gave: exit status 1 instead of 2
	char message[1024];
};

// Each records its message unless one is already there, and returns -1, so that callers can `return err_set(...)`.
// Who finds the error knows whose it is; callers only pass it on.
// What the user gave is wrong: a spec, an argument, a path, a file that is not ours, a folder that may not be written.
int err_set(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
// The world failed: disk full, I/O error, database broken or locked, a process died. The same command may work later.
int err_fault(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
// After a system call: the errno tells which of the two it is (no space is a fault, no permission is not).
int err_system(struct err *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
// Whether that errno is a fault of the world.
int errno_is_fault(int code);
// Empties err, for a caller that has dealt with the message.
void err_clear(struct err *err);

void bug_at(const char *file, int line, const char *format, ...) __attribute__((noreturn, format(printf, 3, 4)));
#define BUG(...) bug_at(__FILE__, __LINE__, __VA_ARGS__)
// What leaves this process nothing to go on with, a device that has failed: prints the sentence and aborts.
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
// The same with the size asked for: memory is planned before a run, never found missing in it.
void die_no_memory(unsigned long long bytes) __attribute__((noreturn));
// Called by both first, from whichever thread it is, so that what is lost can be recorded; NULL: nobody.
void on_death(void (*hook)(void *context, const char *message), void *context);

#ifdef __cplusplus
}
#endif
#endif
