/* SPDX-License-Identifier: GPL-2.0 */
/*
 * VMs stopped in states worth saving, for the tests of saving and restoring.
 */
#ifndef STRATA_SELFTEST_STATE_SCENES_H
#define STRATA_SELFTEST_STATE_SCENES_H

#include "cpu.h"
#include "state.h"

/*
 * @guest runs in vCPU 0 up to the stop, @stop then adds what only userspace can. After it the guest
 * leaves what it sees in memory and ends.
 */
struct scene {
	const char *name;
	struct vm_config config;
	void (*start)(struct vm *vm);
	void (*stop)(struct vm *vm);
	u64 (*finish)(struct vm *vm);
};

extern const struct scene scenes[];
extern const unsigned int nr_scenes;

struct vm *scene_start(const struct scene *scene);
/* Runs to the end; what the guest saw as a number. */
u64 scene_finish(const struct scene *scene, struct vm *vm);
/* Prints what the guest saw. */
void scene_show(struct vm *vm);

#endif
