/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A guest for each mode of the CPU that writes down which events it gets. Its program has
 * interrupts off, or as RFLAGS are set; then INT, whose IRET ends the blocking of NMIs, STI, MOV
 * SS, and an OUT to MODES_END. Each handler makes an entry in the log and returns; that of #DB
 * clears TF.
 */
#ifndef STRATA_SELFTEST_MODES_H
#define STRATA_SELFTEST_MODES_H

#define MODES_CODE32	0x18	/* SEL_CODE32 */
#define MODES_DATA	0x10	/* SEL_DATA */
#define MODES_CS16	0x800

/* The log: how many, then entries of 32 bytes. Right behind, for real mode: the host is TCG. */
#define MODES_LOG	0xc000
#define MODES_ENTRY	32
#define MODES_ENTRIES	64
#define MODES_TCG	0xca00

#define MODES_INT	0x21	/* the program's own INT n */
#define MODES_EXTERNAL	0x40	/* vectors from here on are those of interrupts: TCG repeats them (Documentation/testing.rst) */
#define MODES_SMI	0x100	/* an SMI's entry */

#define MODES_END	0x31	/* the program is through */
#define MODES_RESET	0x32	/* INIT */
#define MODES_SIPI	0x33	/* SIPI with vector 9 or 10 */

#ifndef __ASSEMBLER__
#include "vm.h"

enum guest_mode { MODE_LONG, MODE_PROTECTED, MODE_REAL, MODE_V86, NR_MODES };

extern const char *const mode_names[NR_MODES];

struct mode_entry {
	u32 vector, error, rip, rflags, info, pad[3];	/* @info: CR2 of #PF, DR6 of #DB */
};

struct mode_log {
	u32 nr, pad[7];
	struct mode_entry entry[MODES_ENTRIES];
};

/*
 * All guests into memory; the second address space gets what the first has, and what INIT and SIPI
 * start is there.
 */
void modes_prepare(struct vm *vm);
/* The slots of another VM with the same memory */
void modes_share(struct vm *vm, const struct vm *of);
void vcpu_set_mode(struct vcpu *vcpu, enum guest_mode mode);
struct mode_log *mode_log(struct vm *vm);
#endif

#endif
