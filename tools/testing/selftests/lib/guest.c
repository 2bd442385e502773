// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's common exception handler: a handler of the test's, else a fixup of GUEST_TRY()'s,
 * else a report to the host, which fails the case.
 */
#include "guest.h"

guest_handler guest_handlers[256];

bool guest_under_tcg, guest_loses_cr2;

static void __attribute__((noinline)) nothing(void)
{
	asm volatile("nop");
}

void (*guest_breakpoint(void))(void)
{
	if (!guest_under_tcg)
		return nothing;
	*(volatile uint16_t *)GPA_BREAKPOINT = 0xc390;	/* nop; ret */
	return (void (*)(void))GPA_BREAKPOINT;
}

/*
 * QEMU's TCG sometimes delivers an interrupt that VMRUN injected a second time before the next
 * exit, as an exception: in its handler, where IF is 0. There only an INT n has this vector
 * otherwise.
 */
static bool repeated_by_tcg(const struct guest_frame *frame)
{
	const uint8_t *insn = (const uint8_t *)frame->rip - 2;

	if (!guest_under_tcg || frame->vector < 32 || (frame->rflags & RFLAGS_IF))
		return false;
	return insn[0] != 0xcd || insn[1] != frame->vector;
}

bool guest_shadow_lost(const struct guest_frame *frame)
{
	return guest_under_tcg && frame->vector >= 32 && *(const uint8_t *)(frame->rip - 1) == 0xfb;
}

void guest_exception(struct guest_frame *frame)
{
	struct guest_cpu *cpu = this_cpu();

	if (repeated_by_tcg(frame))
		return;
	cpu->count++;
	if (guest_handlers[frame->vector]) {
		/* HLT would wait for what has come. */
		if (guest_shadow_lost(frame) && *(const uint8_t *)frame->rip == 0xf4)
			frame->rip++;
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
