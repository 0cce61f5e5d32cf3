// SPDX-License-Identifier: MIT
#include "harness/run/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness/base/progress.h"
#include "harness/run/run.h"
#include "harness/spec/setup.h"

enum { MOST_WORKERS = 256, RESPAWNS = 5, CHILD_DONE = 0, CHILD_FAULT = 3, CHILD_STOPPED = 4, CHILD_DIED = 5 };

static volatile sig_atomic_t stop_asked;

static void on_signal(int number)
{
	(void)number;
	stop_asked = 1;
}

static void catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal};
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static void sleep_s(double seconds)
{
	struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
	nanosleep(&t, NULL);
}

// --- in the child ----------------------------------------------------------------------------------------------
struct claimed {
	struct store *store;
	const struct store_run *run;
	double beaten_s;
	struct err err; // of a heartbeat that failed
};

static int tick(void *context, double fraction)
{
	struct claimed *c = context;
	const double now = clock_s();
	if (now - c->beaten_s >= 1) {
		c->beaten_s = now;
		if (store_heartbeat(c->store, c->run->id, fraction, &c->err))
			return 1;
	}
	return stop_asked;
}

// The run has failed, and this worker with it: the parent starts another, and the grid goes on.
static void died(void *context, const char *message)
{
	const struct claimed *c = context;
	const int is_stored =
	        !store_finish(c->store, c->run->id, RUN_FAILED, message, NULL, 0, NULL, 0, 0, &(struct err){0});
	_exit(is_stored ? CHILD_DIED : CHILD_FAULT);
}

// Runs what was claimed. 0 stored, 2 stopped and given back, -1 fault.
static int run_claimed(struct store *store, const struct worker_plan *plan, const struct store_run *run,
        struct arena *arena, struct err *err)
{
	struct claimed claimed = {.store = store, .run = run, .beaten_s = clock_s()};
	struct err failure = {0};
	struct setup setup;
	struct run_log log;
	run_log_init(&log);
	log.checkpoint_path = arena_printf(
	        arena, "%s/%s-%llu.ckpt", plan->checkpoint_folder, run->key, (unsigned long long)run->seed);
	log.checkpoint_every_s = plan->checkpoint_every_s;
	log.build = plan->build->binary_hash;
	log.tick = tick;
	log.context = &claimed;
	const double started_s = clock_s();
	int status;
	on_death(died, &claimed);
	if (setup_parse(&setup, run->json, arena, &failure))
		status = -1;
	else
		status = setup.procedure->run(&setup, run->seed, plan->n_thread, &log, &failure);
	on_death(NULL, NULL);
	if (claimed.err.is_set) {
		*err = claimed.err;
		status = -2;
	} else if (status == 2) {
		status = store_release(store, run->id, err) ? -2 : 2;
	} else {
		const enum run_state state = status < 0 ? RUN_FAILED : status == 1 ? RUN_DIVERGED : RUN_DONE;
		const double wall_s = clock_s() - started_s;
		status = store_finish(store, run->id, state, status < 0 ? failure.message : NULL, log.metric,
		                 log.n_metric, log.sample, log.n_sample, wall_s, err)
		                 ? -2
		                 : 0;
		if (status == 0)
			checkpoint_remove(
			        log.checkpoint_path); // after the row is on disk, so that nothing is lost in between
	}
	run_log_release(&log);
	return status == -2 ? -1 : status;
}

static int work(const struct worker_plan *plan, struct err *err)
{
	struct store *store;
	struct arena arena;
	arena_init(&arena, 1 << 16);
	if (store_open(&store, plan->db_path, STORE_WRITE, err))
		return -1;
	int status = store_identify(store, plan->build, err);
	while (status == 0 && !stop_asked) {
		struct store_run run;
		arena_reset(&arena);
		int got = store_claim(store, plan->experiment, plan->scale, &run, &arena, err);
		if (got < 0) {
			status = -1;
			break;
		}
		if (got) {
			status = run_claimed(store, plan, &run, &arena, err);
			continue;
		}
		// Others still run: should one die, its run is taken over here.
		struct store_progress progress;
		status = store_progress(store, plan->experiment, plan->scale, &progress, err);
		if (status || (!progress.queued && !progress.running))
			break;
		sleep_s(0.2);
	}
	store_close(store);
	arena_release(&arena);
	return stop_asked && status >= 0 ? 2 : status;
}

// The child's only way back is its exit status and its error on the pipe (small enough to arrive in one piece).
static _Noreturn void child(const struct worker_plan *plan, pid_t parent, int pipe_out)
{
	struct err err = {0};
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(CHILD_STOPPED);
	catch_signals();
	int status = work(plan, &err);
	if (status < 0 && write(pipe_out, &err, sizeof(err)) < 0)
		status = -1; // the message is lost, the status is not
	_exit(status < 0 ? CHILD_FAULT : status == 2 ? CHILD_STOPPED : CHILD_DONE);
}

// --- in the parent ---------------------------------------------------------------------------------------------
struct crew {
	const struct worker_plan *plan;
	pid_t pid[MOST_WORKERS];
	int n_alive, n_respawn, pipe_in, pipe_out, fault;
};

static int spawn(struct crew *crew, int slot, struct err *err)
{
	pid_t parent = getpid(), pid = fork();
	if (pid < 0)
		return err_fault(err, "cannot start a worker: %s (try fewer --jobs)", strerror(errno));
	if (pid == 0)
		child(crew->plan, parent, crew->pipe_out);
	crew->pid[slot] = pid;
	crew->n_alive++;
	return 0;
}

// Takes the dead off the list; one that crashed is replaced, a few times.
static int collect(struct crew *crew, struct err *err)
{
	for (int i = 0; i < crew->plan->n_worker; i++) {
		int status;
		if (!crew->pid[i] || waitpid(crew->pid[i], &status, WNOHANG) <= 0)
			continue;
		crew->pid[i] = 0;
		crew->n_alive--;
		if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_FAULT)
			crew->fault = 1;
		if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_DIED && !stop_asked && spawn(crew, i, err))
			return -1;
		if (WIFSIGNALED(status) && !stop_asked && crew->n_respawn++ < RESPAWNS * crew->plan->n_worker &&
		        spawn(crew, i, err))
			return -1;
	}
	return 0;
}

static void show(struct progress *bar, const struct store_progress *p, int ended)
{
	char note[96];
	const double done = (double)(p->done + p->failed + p->diverged) + p->running_fraction;
	int n = snprintf(note, sizeof(note), "%ld running", p->running);
	if (p->failed || p->diverged)
		snprintf(note + n, sizeof(note) - (size_t)n, ", %ld failed, %ld diverged", p->failed, p->diverged);
	(ended ? progress_end : progress_update)(bar, done, note);
}

static int supervise(struct crew *crew, struct store *store, struct store_progress *p, struct err *err)
{
	const struct worker_plan *plan = crew->plan;
	struct progress bar;
	int told = 0;
	progress_init(&bar, plan->experiment, (double)(p->queued + p->running + p->done + p->failed + p->diverged),
	        (double)(p->done + p->failed + p->diverged));
	while (crew->n_alive) {
		sleep_s(0.1);
		if (collect(crew, err) || store_progress(store, plan->experiment, plan->scale, p, err))
			stop_asked = 1;
		show(&bar, p, 0);
		for (int i = 0; stop_asked && !told && i < plan->n_worker; i++)
			if (crew->pid[i])
				kill(crew->pid[i], SIGTERM);
		told = stop_asked;
	}
	show(&bar, p, 1);
	return err->is_set ? -1 : 0;
}

static int make_folder(const char *path, struct err *err)
{
	if (mkdir(path, 0755) && errno != EEXIST)
		return err_system(err, errno, "%s: cannot make the folder for checkpoints: %s", path, strerror(errno));
	if (access(path, W_OK))
		return err_system(
		        err, errno, "%s: the folder for checkpoints is not writable: %s", path, strerror(errno));
	return 0;
}

int workers_run(const struct worker_plan *plan, struct err *err)
{
	struct store *store;
	struct store_progress before = {0};
	if (plan->n_worker < 1 || plan->n_worker > MOST_WORKERS)
		return err_set(err, "%d workers: give 1 to %d", plan->n_worker, MOST_WORKERS);
	if (make_folder(plan->checkpoint_folder, err) || store_open(&store, plan->db_path, STORE_WRITE, err))
		return -1;
	int status = store_progress(store, plan->experiment, plan->scale, &before, err), ends[2];
	struct store_progress after = before;
	if (status || (!before.queued && !before.running)) {
		store_close(store);
		return status;
	}
	store_close(store); // a connection does not survive fork
	if (pipe(ends))
		return err_fault(err, "cannot make a pipe: %s", strerror(errno));
	struct crew crew = {.plan = plan, .pipe_in = ends[0], .pipe_out = ends[1]};
	catch_signals();
	for (int i = 0; i < plan->n_worker && status == 0; i++)
		status = spawn(&crew, i, err);
	if (status == 0)
		status = store_open(&store, plan->db_path, STORE_WRITE, err);
	if (status) {
		for (int i = 0; i < plan->n_worker; i++)
			if (crew.pid[i])
				kill(crew.pid[i], SIGTERM);
		return -1;
	}
	status = supervise(&crew, store, &after, err);
	store_close(store);
	close(ends[1]);
	if (crew.fault && !err->is_set) {
		struct err of_worker;
		if (read(ends[0], &of_worker, sizeof(of_worker)) == sizeof(of_worker))
			*err = of_worker;
		else
			err_fault(err, "a worker ended without saying why: run the same command again");
		status = -1;
	}
	close(ends[0]);
	if (status < 0)
		return -1;
	if (stop_asked)
		return 2;
	if (after.queued || after.running)
		return err_fault(err, "workers died with %ld runs left: run the same command again",
		        after.queued + after.running);
	return after.failed > 0;
}
