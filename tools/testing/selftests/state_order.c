// SPDX-License-Identifier: GPL-2.0
/*
 * What: a saved VM restored over another one, or into a new one, with the SETs in any order: the
 * sequences of QEMU, Firecracker and the kernel's selftests; every ordered pair of parts as
 * neighbours after a random prefix; seeded permutations.
 * Conditions: the seed is printed; STATE_SEED and STATE_ROUNDS in the environment override it and
 * the number of permutations.
 * Expected: all GETs equal those of the image, and the guest goes on as if nothing had happened.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emulator.h"
#include "state_scenes.h"

#define NEIGHBOURS (PART_SLOTS + 1)

struct sequence {
	const char *who;
	u8 save[NR_PARTS];
	u8 restore[NR_PARTS];
};

/* What the sequences leave out (the parts of the VM, mostly) stands where its devices have it. */
static const struct sequence sequences[] = {
	{ "QEMU",
	  { PART_EVENTS, PART_MP_STATE, PART_REGS, PART_XSAVE, PART_XCRS, PART_SREGS, PART_MSRS, PART_TSC, PART_LAPIC, PART_DEBUGREGS,
	    PART_NESTED, PART_CLOCK, PART_IRQCHIP, PART_PIT, PART_SLOTS },
	  { PART_SLOTS, PART_IRQCHIP, PART_PIT, PART_LAPIC, PART_SREGS, PART_NESTED, PART_TSC, PART_REGS, PART_XSAVE, PART_XCRS,
	    PART_MSRS, PART_EVENTS, PART_MP_STATE, PART_DEBUGREGS, PART_CLOCK } },
	{ "Firecracker",
	  { PART_MP_STATE, PART_REGS, PART_SREGS, PART_XSAVE, PART_XCRS, PART_DEBUGREGS, PART_LAPIC, PART_TSC, PART_MSRS, PART_EVENTS,
	    PART_PIT, PART_CLOCK, PART_IRQCHIP, PART_SLOTS, PART_NESTED },
	  { PART_SLOTS, PART_PIT, PART_CLOCK, PART_IRQCHIP, PART_MP_STATE, PART_REGS, PART_SREGS, PART_XSAVE, PART_XCRS,
	    PART_DEBUGREGS, PART_LAPIC, PART_MSRS, PART_EVENTS, PART_TSC, PART_NESTED } },
	{ "the kernel's selftests",
	  { PART_EVENTS, PART_MP_STATE, PART_REGS, PART_XSAVE, PART_XCRS, PART_SREGS, PART_DEBUGREGS, PART_NESTED, PART_MSRS, PART_TSC,
	    PART_LAPIC, PART_IRQCHIP, PART_PIT, PART_CLOCK, PART_SLOTS },
	  { PART_SLOTS, PART_IRQCHIP, PART_PIT, PART_CLOCK, PART_TSC, PART_SREGS, PART_MSRS, PART_XCRS, PART_XSAVE, PART_EVENTS,
	    PART_MP_STATE, PART_DEBUGREGS, PART_LAPIC, PART_REGS, PART_NESTED } },
};

/*
 * A scene at its stop, the two VMs that it is restored into by turns, and how it ends undisturbed.
 */
struct stage {
	const struct scene *scene;
	struct vm *origin, *live[2];
	struct vm_state *image, *got;
	struct ram_image ram;
	u64 ending;
	unsigned int turn;
};

static struct stage *stage_open(const struct scene *scene)
{
	struct stage *st = calloc(1, sizeof(*st));

	if (host_is_bochs_svm())
		tap_skip("Bochs shows guests the host's CR2");
	st->scene = scene;
	st->image = calloc(1, sizeof(*st->image));
	st->got = calloc(1, sizeof(*st->got));
	st->origin = scene_start(scene);
	state_save(st->origin, &scene->config, NULL, st->image);
	ram_save(st->origin, &st->ram);
	st->live[0] = vm_create_with(&scene->config, st->origin);
	st->live[1] = vm_create_with(&scene->config, st->origin);
	st->ending = scene_finish(scene, st->origin);
	return st;
}

static void stage_close(struct stage *st)
{
	vm_destroy(st->live[0]);
	vm_destroy(st->live[1]);
	vm_destroy(st->origin);
	free(st->ram.bytes);
	free(st->image);
	free(st->got);
	free(st);
}

/* True if the VM restored so is the one that was saved. */
static bool trial(struct stage *st, struct vm *vm, const char *what, const u8 *order, bool sregs2)
{
	const struct vm_config *config = &st->scene->config;
	unsigned int bad;

	ram_restore(st->origin, &st->ram);
	state_restore(vm, config, order, sregs2, st->image);
	state_save(vm, config, NULL, st->got);
	/*
	 * SREGS carries no page-directory pointers: they are loaded from memory when the guest is
	 * entered.
	 */
	if (!sregs2 && !st->got->vcpu->sregs2.flags) {
		st->got->vcpu->sregs2.flags = st->image->vcpu->sregs2.flags;
		memcpy(st->got->vcpu->sregs2.pdptrs, st->image->vcpu->sregs2.pdptrs,
		       sizeof(st->got->vcpu->sregs2.pdptrs));
	}
	bad = state_differs(what, config, st->image, st->got);
	if (scene_finish(st->scene, vm) != st->ending) {
		tap_fail(__FILE__, __LINE__, "%s: goes on differently", what);
		scene_show(vm);
		bad++;
	}
	return !bad;
}

static void describe(char *text, size_t size, const struct scene *scene, const u8 *order,
		     bool sregs2)
{
	unsigned int i, n;

	n = snprintf(text, size, "%s%s:", scene->name, sregs2 ? ", SREGS2" : "");
	for (i = 0; i < NR_PARTS && n < size; i++)
		n += snprintf(text + n, size - n, " %s", state_part_names[order[i]]);
}

/* Over the VM that had the turn before last, so that it is never the one just restored. */
static bool trial_live(struct stage *st, const u8 *order, bool sregs2)
{
	char what[300];

	describe(what, sizeof(what), st->scene, order, sregs2);
	return trial(st, st->live[st->turn++ & 1], what, order, sregs2);
}

TEST_TIMEOUT(sequences_of_vmms, 120)
{
	struct vm_state *saved = calloc(1, sizeof(*saved));
	unsigned int i, j;

	STRATA_ONLY("SETs in any order");
	for (i = 0; i < nr_scenes; i++) {
		struct stage *st;

		st = stage_open(&scenes[i]);
		for (j = 0; j < sizeof(sequences) / sizeof(sequences[0]); j++) {
			const struct sequence *q = &sequences[j];
			struct vm *fresh = vm_create_with(&scenes[i].config, st->origin);

			tap_note("%s: %s", scenes[i].name, q->who);
			trial(st, fresh, q->who, q->restore, j == 0);
			/* Saved in that order, over the state that is left there. */
			ram_restore(st->origin, &st->ram);
			state_restore(fresh, &scenes[i].config, q->restore, j == 0, st->image);
			state_save(fresh, &scenes[i].config, q->save, saved);
			state_differs(q->who, &scenes[i].config, st->image, saved);
			vm_destroy(fresh);
		}
		stage_close(st);
	}
	free(saved);
}

/* A random order in which @b comes right after @a. */
static void order_with_pair(u64 *seed, u8 *order, u8 a, u8 b)
{
	unsigned int i, n = 0;
	u8 all[NR_PARTS];

	state_shuffle(seed, all);
	for (i = 0; i < NR_PARTS; i++) {
		if (all[i] == b)
			continue;
		order[n++] = all[i];
		if (all[i] == a)
			order[n++] = b;
	}
}

TEST_TIMEOUT(every_pair_of_neighbours, 240)
{
	u64 seed = env_number("STATE_SEED", 0x5eed1);
	unsigned int i, a, b, bad = 0;
	u8 order[NR_PARTS];

	STRATA_ONLY("SETs in any order");
	tap_note("STATE_SEED=%#llx", (unsigned long long)seed);
	for (i = 0; i < nr_scenes; i++) {
		struct stage *st = stage_open(&scenes[i]);

		for (a = 0; a < NEIGHBOURS; a++) {
			for (b = 0; b < NEIGHBOURS && bad < 10; b++) {
				if (a == b)
					continue;
				order_with_pair(&seed, order, a, b);
				bad += !trial_live(st, order, next_random(&seed) >> 63);
			}
		}
		stage_close(st);
	}
}

TEST_TIMEOUT(permutations, 480)
{
	u64 seed = env_number("STATE_SEED", 0x5eed2), rounds = env_number("STATE_ROUNDS", 2000), n;
	unsigned int i, bad = 0;
	u8 order[NR_PARTS];

	STRATA_ONLY("SETs in any order");
	tap_note("STATE_SEED=%#llx STATE_ROUNDS=%llu", (unsigned long long)seed,
		 (unsigned long long)rounds);
	for (i = 0; i < nr_scenes; i++) {
		struct stage *st = stage_open(&scenes[i]);

		for (n = i; n < rounds && bad < 10; n += nr_scenes) {
			state_shuffle(&seed, order);
			bad += !trial_live(st, order, next_random(&seed) >> 63);
		}
		stage_close(st);
	}
}
