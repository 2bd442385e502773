/* SPDX-License-Identifier: GPL-2.0 */
/*
 * SMIs at the end of an I/O instruction: guests that do one, and what the save area has of it.
 */
#ifndef STRATA_SELFTEST_SMM_IO_H
#define STRATA_SELFTEST_SMM_IO_H

#include "smm.h"
#include "state.h"

/* In the save area: 64-bit map */
#define S64_RBX		0x1e0
#define S64_IO_RIP	0x0a0
#define S64_IO_RCX	0x0a8
#define S64_IO_RSI	0x0b0
#define S64_IO_RDI	0x0b8
#define IO_DWORD(smram)	((u32)smm_field(smram, SMM_SAVE + 0xc0, 4))
#define RESTART64	(SMM_SAVE + 0xc8)

/*
 * OUT to PORT_LOOP for ever; IN of the port in DX, an OUT to PORT_LOOP behind it. EBX counts. The
 * same bytes in protected and long mode.
 */
extern const char smm_io_out[], smm_io_out_end[], smm_io_in[], smm_io_in_end[];

/* One vCPU in long mode at such a program, with SMRAM. */
struct vm *smm_io_vm(const struct vm_config *config, u8 **smram, const void *start,
		     const void *end);

struct kvm_regs smm_io_regs(struct vcpu *vcpu);
/* RCX, RSI and RDI, DX */
void smm_io_set_string(struct vcpu *vcpu, u64 count, u64 address, u16 port);

/* The handler is at its OUT: it asks for the restart, and RSM follows. */
void smm_io_restart(u8 *smram);

#endif
