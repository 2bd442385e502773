/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Random states of events, as far as a host's emulator can do what they ask for.
 */
#ifndef STRATA_SELFTEST_RANDOM_EVENTS_H
#define STRATA_SELFTEST_RANDOM_EVENTS_H

#include "modes.h"
#include "state.h"

struct random_events {
	enum guest_mode mode;
	struct kvm_vcpu_events events;
	u64 rflags;		/* to be set beside the mode's own */
	u32 mp_state;
	unsigned int nmis, smis;
	u8 interrupt;		/* KVM_INTERRUPT, 0: none */
	u8 request;		/* in the local APIC's IRR, 0: none */
	u8 cold;		/* bits: of the first run, of the second */
	u8 order[NR_PARTS];
	bool sregs2;
};

void random_events(u64 *seed, const struct vm_config *config, struct random_events *r);
void random_events_show(const struct random_events *r);

#endif
