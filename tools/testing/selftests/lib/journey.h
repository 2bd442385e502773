/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A Linux guest on its way through VMs: at some stops, by a seeded choice, everything is saved, and
 * restored in a random order into another VM, by turns one that lives and a new one, and the boot
 * goes on there. Each vCPU has a thread.
 */
#ifndef STRATA_SELFTEST_JOURNEY_H
#define STRATA_SELFTEST_JOURNEY_H

#include <pthread.h>

#include "linux.h"
#include "state.h"

#define JOURNEY_CPUS 2

struct journey {
	struct linux_guest *guest;
	struct vm_config config;	/* .each: that is where it stops */
	u64 seed, every, fresh_every;	/* a move in so many stops, 0: none; a new VM in so many moves, 0: none */
	/* May be NULL. No vCPU runs meanwhile. */
	void (*opened)(struct journey *j, struct vm *vm);
	void (*closing)(struct journey *j, struct vm *vm);
	void (*moved)(struct journey *j, struct vm *to, const struct vm_state *image);

	/* What has come of it */
	u64 stops, moves, fresh_moves, differences;

	struct vm lender;		/* whose memory the VMs have */
	struct vm *live[2], *vm;
	bool fresh;			/* @vm is none of those that stay */
	/*
	 * The vCPUs' threads hold @lock except in KVM_RUN. Who sees @asked waits; the last one
	 * moves the VM.
	 */
	pthread_mutex_t lock;
	pthread_cond_t cond, over;
	pthread_t thread[JOURNEY_CPUS];
	unsigned int parked;
	bool asked;
	bool stuck;			/* nothing was heard of the guest */
};

/*
 * Until the guest has switched itself off, or does nothing any more, which is a failure. The upper
 * part of @j and @j->guest are set.
 */
void journey_run(struct journey *j);

#endif
