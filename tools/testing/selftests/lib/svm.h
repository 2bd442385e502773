/* SPDX-License-Identifier: GPL-2.0 */
/*
 * SVM as a guest hypervisor sees it: the control block (APM vol. 2, "Layout of VMCB"), and running
 * an L2 that is a function of the program on L1's page tables.
 */
#ifndef STRATA_SELFTEST_SVM_H
#define STRATA_SELFTEST_SVM_H

#include <asm/svm.h>

#include "cpu.h"

#define MSR_VM_CR		0xc0010114
#define MSR_VM_HSAVE_PA		0xc0010117

struct svm_seg {
	u16 selector, attrib;
	u32 limit;
	u64 base;
};

struct svm_vmcb {
	u32 intercept[6];
	u8 rsvd_018[0x24];
	u16 pause_thresh, pause_count;
	u64 iopm, msrpm, tsc_offset;
	u32 asid;
	u8 tlb_ctl, rsvd_05d[3];
	u32 int_ctl, int_vector;
	u64 int_state, exit_code, exit_info_1, exit_info_2;
	u32 exit_int_info, exit_int_error;
	u64 nested_ctl;
	u8 rsvd_098[0x10];
	u32 event_inj, event_error;
	u64 ncr3, virt_ext, clean, next_rip;
	u8 insn_len, insn_bytes[15];
	u8 rsvd_0e0[0x320];
	/* The save area */
	struct svm_seg es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	u8 rsvd_4a0[0x2b], cpl, rsvd_4cc[4];
	u64 efer;
	u8 rsvd_4d8[0x70];
	u64 cr4, cr3, cr0, dr7, dr6, rflags, rip;
	u8 rsvd_580[0x58];
	u64 rsp;
	u8 rsvd_5e0[0x18];
	u64 rax, star, lstar, cstar, sfmask, kernel_gs_base, sysenter_cs, sysenter_esp,
		sysenter_eip, cr2;
	u8 rsvd_648[0x20];
	u64 g_pat, dbgctl, br_from, br_to, excp_from, excp_to;
	u8 rsvd_698[0x968];
} __attribute__((aligned(4096)));

_Static_assert(sizeof(struct svm_vmcb) == 4096, "a page");
_Static_assert(offsetof(struct svm_vmcb, iopm) == 0x40, "iopm");
_Static_assert(offsetof(struct svm_vmcb, event_inj) == 0xa8, "event_inj");
_Static_assert(offsetof(struct svm_vmcb, es) == 0x400, "es");
_Static_assert(offsetof(struct svm_vmcb, cpl) == 0x4cb, "cpl");
_Static_assert(offsetof(struct svm_vmcb, cr4) == 0x548, "cr4");
_Static_assert(offsetof(struct svm_vmcb, rax) == 0x5f8, "rax");
_Static_assert(offsetof(struct svm_vmcb, g_pat) == 0x668, "g_pat");

/* Bits of intercept[], counted through; the exit code is the same number. */
#define ICPT_INTR	0x60
#define ICPT_NMI	0x61
#define ICPT_SMI	0x62
#define ICPT_INIT	0x63
#define ICPT_VINTR	0x64
#define ICPT_IRET	0x74
#define ICPT_SHUTDOWN	0x7f
#define ICPT_VMRUN	0x80
#define ICPT_VMMCALL	0x81

#define V_IRQ		(1u << 8)
#define V_PRIO(n)	((n) << 16)
#define V_IGN_TPR	(1u << 20)
#define V_INTR_MASKING	(1u << 24)

#define INJ_VALID	(1u << 31)
#define INJ_ERROR	(1u << 11)
#define INJ_INTR	(0u << 8)
#define INJ_NMI		(2u << 8)
#define INJ_EXCEPTION	(3u << 8)
#define INJ_SOFT	(4u << 8)

#define SVM_INVALID	(~0ull)

/* L1's, in the program's image, so that the guest's copy has them */
extern struct svm_vmcb svm_vmcb;
extern u8 svm_iopm[3 * 4096], svm_msrpm[2 * 4096], svm_hsave[4096];
extern u8 svm_l2_stack[16384];

GUEST_INLINE void svm_intercept(struct svm_vmcb *vmcb, unsigned int bit, bool on)
{
	if (on)
		vmcb->intercept[bit / 32] |= 1u << bit % 32;
	else
		vmcb->intercept[bit / 32] &= ~(1u << bit % 32);
}

/* By the guest: SVM on, and svm_vmcb for an L2 that runs @fn in 64-bit mode and exits by VMMCALL */
void svm_guest_init(void (*fn)(void));
/* L2 again, from @fn on, everything else as it is */
void svm_guest_restart(void (*fn)(void));

/* L2's general registers: RBX RCX RDX RBP RSI RDI R8..R15 */
extern u64 svm_gprs[14];
/* VMRUN with svm_gprs; returns the exit code */
u64 svm_vmrun(struct svm_vmcb *vmcb);
/*
 * For who counts events exactly: an external interrupt that VMRUN injected came @times times. True
 * if that is what QEMU's TCG does now and then (Documentation/testing.rst): the guest tries again
 * then. Only where @svm_may_repeat says so, and not three times in a row.
 */
extern bool svm_may_repeat;
bool svm_repeated(u32 event, u64 times);
/*
 * VMRUN in 32-bit code, in the paging mode that these registers make; svm_mode.S. Addresses are
 * below 4G.
 */
u64 svm_vmrun_mode(struct svm_vmcb *vmcb, u64 cr3, u64 cr4, u64 efer);

GUEST_INLINE void svm_stgi(void) { asm volatile("stgi" : : : "memory"); }
GUEST_INLINE void svm_clgi(void) { asm volatile("clgi" : : : "memory"); }
GUEST_INLINE void vmmcall(void) { asm volatile("vmmcall" : : : "memory"); }

/* Skips the case where guests are not offered SVM. */
void need_svm(void);
/* CPUID 8000_000A EDX as the guest sees it */
u32 svm_features(void);
/* A case that is a guest: @fn until it is done. Skipped where none of these features is offered. */
void svm_run_with(void *fn, u32 features);
#define SVM_FEATURE_NP		(1u << 0)
#define SVM_FEATURE_NRIPS	(1u << 3)
#define SVM_FEATURE_CLEAN	(1u << 5)
#define SVM_FEATURE_FLUSH_ASID	(1u << 6)
#define SVM_FEATURE_PAUSE	(1u << 10)
#define SVM_FEATURE_PAUSE_GAP	(1u << 12)
#define SVM_FEATURE_VGIF	(1u << 16)

#endif
