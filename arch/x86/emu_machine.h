/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The emulator's machine: struct emu_ops over a vCPU. Its three parts: accesses (emu_access.c),
 * system and vector registers (emu_system.c), and what frames an instruction (emu.c).
 */
#ifndef STRATA_X86_EMU_MACHINE_H
#define STRATA_X86_EMU_MACHINE_H

#include "strata.h"
#include "emulate/emulate.h"

static inline struct vcpu *emu_vcpu(struct emu *e)
{
	return e->ctx;
}

/* MOV has one memory operand, and it is what the nested page fault was about. */
static inline bool emu_has_one_operand(const struct emu_insn *i)
{
	if (i->map == EMU_MAP_1BYTE)
		return (i->opcode >= 0x88 && i->opcode <= 0x8b) ||
		       (i->opcode >= 0xa0 && i->opcode <= 0xa3) || i->opcode == 0xc6 ||
		       i->opcode == 0xc7;
	return i->map == EMU_MAP_0F && (i->opcode & 0xf6) == 0xb6;
}

/*
 * Everything; and what an access to memory needs, where another instruction has to be left to the
 * CPU.
 */
extern const struct emu_ops emu_machine_ops, emu_memory_ops;

/* The registers that emu_guest_prepare() may have left out, as the vCPU has them now */
void emu_load_rest(struct emu *e, struct vcpu *v);

/* struct emu_ops has what each of these is. */
enum emu_status emu_guest_prepare(struct emu *e);
enum emu_status emu_guest_fetch(struct emu *e, u64 linear, void *buf, unsigned int len);
enum emu_status emu_guest_read(struct emu *e, u64 linear, void *buf, unsigned int len,
			       unsigned int flags);
enum emu_status emu_guest_write(struct emu *e, u64 linear, const void *buf, unsigned int len,
				unsigned int flags);
enum emu_status emu_guest_cmpxchg(struct emu *e, u64 linear, const void *old, const void *new,
				  unsigned int len, unsigned int flags);
enum emu_status emu_guest_probe(struct emu *e, u64 linear, unsigned int len, unsigned int flags);
enum emu_status emu_guest_in(struct emu *e, u16 port, unsigned int size, u32 *val);
enum emu_status emu_guest_out(struct emu *e, u16 port, unsigned int size, u32 val);

#endif
