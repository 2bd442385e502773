/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The model checker of the event core: what its files share.
 *
 * A state is a struct event_queue of the real code. From each reachable state every input of the
 * alphabet is tried, under every snapshot of what blocks the guest, to the fixpoint. The alphabet
 * is in alphabet.c, the independent description of what should happen in oracle.c, the walk in
 * explore.c, what userspace sees and sets in image.c.
 */
#ifndef STRATA_UNIT_EVENT_MODEL_H
#define STRATA_UNIT_EVENT_MODEL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../../../arch/x86/event/abi.h"
#include "rules.h"

/* ---- alphabet.c ---- */

/**
 * struct config - a machine that is explored
 * @name: for people
 * @base: view fields that never change
 * @vary_gif: GIF changes (SVM)
 * @vary_vmxon: VMXON and VMXOFF happen
 */
struct config {
	const char *name;
	struct event_view base;
	bool vary_gif;
	bool vary_vmxon;
};

extern const struct config configs[];
extern const unsigned int nr_configs;

/* What the CPU was delivering when it exited, and what L1 injects; entry 0 is no event */
extern const struct event vectorings[];
extern const unsigned int nr_vectorings;
/* What exit handlers and the emulator raise; entry 0 is nothing */
extern const struct event raises[];
extern const unsigned int nr_raises;

#define VECTOR_A	0x30
#define VECTOR_B	0x31
#define VECTOR_SOFT	13	/* that of a contributory exception */
#define TRAP_CAUSE	0x4000
#define SIPI_VECTOR	0x9a

#define MAX_VIEWS	512
unsigned int make_views(const struct config *c, struct event_view *views);

/*
 * The state as a number and back; key_of() fails the model if the queue holds what the alphabet
 * does not.
 */
u64 key_of(const struct event_queue *q);
void queue_of(u64 key, struct event_queue *q);

/* Another alphabet of the same shape */
void rename_event(struct event *e);
void rename_queue(struct event_queue *q);
void rename_view(struct event_view *v);
void rename_image(struct kvm_vcpu_events *e);

/* ---- oracle.c ---- */

void oracle_next(struct event_queue *q, const struct event_view *v, struct event_plan *p);
/* Settle only; true if L1 takes it. */
bool oracle_settle(struct event_queue *q, const struct event_view *v, struct event_plan *p);
bool oracle_place(const struct event_queue *q, const struct event_view *v);
bool oracle_open(const struct event_queue *q, const struct event_view *v);
bool same_plan(const struct event_plan *a, const struct event_plan *b);

/* ---- image.c ---- */

void check_image(const struct event_queue *q, const struct config *c, u64 key);
void check_refusals(void);

/* ---- dry.c ---- */

/* What the guest, or L1, got */
struct taken {
	unsigned int interrupts, nmis, exceptions, traps, smis, inits, sipis, shutdowns, mtfs,
		timers;
};

/* False if it does not come to an end. */
bool run_dry(struct event_queue q, const struct event_view *base, struct taken *t);
void check_dry(const struct event_queue *state, const struct event_view *base);

/* ---- explore.c ---- */

/**
 * struct tally - what a walk saw
 * @states: queues
 * @transitions: inputs applied to them
 */
struct tally {
	u64 states;
	u64 transitions;
};

/* Walk one machine; stops at the first violation, and after @limit states. */
struct tally explore(const struct config *c, u64 limit);
void check_finer(void);

/* ---- the verdict ---- */

extern const char *model_failure;
extern bool model_quiet;

/* Note the first violation; prints it with the state unless model_quiet. */
bool expect_at(bool ok, const char *what, const struct event_queue *q, const struct event_view *v);

void print_queue(const struct event_queue *q);

#endif
