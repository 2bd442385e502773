// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's common exception handler: a handler of the test's, else a fixup of GUEST_TRY()'s,
 * else a report to the host, which fails the case.
 */
#include "guest.h"

guest_handler guest_handlers[256];

void guest_exception(struct guest_frame *frame)
{
	struct guest_cpu *cpu = this_cpu();

	cpu->count++;
	if (guest_handlers[frame->vector]) {
		guest_handlers[frame->vector](frame);
		return;
	}
	cpu->vector = frame->vector;
	cpu->error = frame->error;
	cpu->rip = frame->rip;
	cpu->rflags = frame->rflags;
	cpu->cr2 = read_cr2();
	if (cpu->fixup) {
		frame->rip = cpu->fixup;
		return;
	}
	out32(PORT_EXCEPTION, (uint32_t)frame->vector);
}
