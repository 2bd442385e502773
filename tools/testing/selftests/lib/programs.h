/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the guest programs of the torture share.
 */
#ifndef STRATA_SELFTEST_PROGRAMS_H
#define STRATA_SELFTEST_PROGRAMS_H

#include "torture.h"

#define PORT_TRACE	0x730

GUEST_INLINE void act(uint32_t what)
{
	out32(PORT_ACT, what);
}

/* Notes the event and tells the host its vector. */
void trace_event(struct guest_frame *f);
/* The same for faults: goes on where GUEST_TRY() says. */
void trace_fault(struct guest_frame *f);
/* Long mode at @fn with trace_event() for all vectors above 31, trace_fault() below. */
void program_long(struct vm *vm, void *fn);

/* Why guests in SMM cannot run here; NULL: they can. */
const char *smm_there(void);

void setup_exceptions(struct vm *vm);
void setup_delivery(struct vm *vm);
void setup_user(struct vm *vm);
void setup_interrupts(struct vm *vm);
void setup_apic(struct vm *vm);
void setup_steps_tpr(struct vm *vm);
void setup_split(struct vm *vm);
void setup_debug(struct vm *vm);
void setup_io(struct vm *vm);
void setup_tasks(struct vm *vm);
void setup_real(struct vm *vm);
void setup_triple(struct vm *vm);
void setup_watch(struct vm *vm);
void setup_smm(struct vm *vm);
void setup_bad_rsm(struct vm *vm);
void setup_processors(struct vm *vm);

#endif
