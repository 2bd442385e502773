/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A guest of modes.h from one state, twice: as the VM is, and saved and restored in another one.
 */
#ifndef STRATA_SELFTEST_TWO_RUNS_H
#define STRATA_SELFTEST_TWO_RUNS_H

#include "modes.h"
#include "random_events.h"
#include "state.h"

/* How a run of the guest ended */
struct outcome {
	int error;
	u32 exit, port;
	bool blocked;		/* it waits for INIT or SIPI */
	struct mode_log log;
	struct kvm_regs regs;
	struct kvm_vcpu_events events;
	u32 mp_state;
};

struct two_runs {
	struct vm_config config;
	struct vm *vm[2];
	struct vm_state *baseline, *was, *image, *got;
	struct outcome first, second;
	u64 seed;
};

/*
 * VMs, a state of each mode in @baseline (with one more for the caller), and a tick that ends what
 * waits for ever
 */
void two_runs_init(struct two_runs *b, const struct vm_config *config);
void two_runs_done(struct two_runs *b);

/*
 * From what the first VM is, whose state has been saved in @image: @first as it is, @second moved,
 * with the capabilities that lose nothing twice.
 */
void two_runs(struct two_runs *b, const struct random_events *r);

#endif
