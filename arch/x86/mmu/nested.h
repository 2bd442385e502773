/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The MMU's side of nested virtualization: L2 runs on tables of L1's, which L1 may have in memory
 * that is itself translated.
 *
 * Three spaces of physical addresses: L2's, L1's, the host's. Where L1 uses nested paging, its
 * tables translate the first to the second and the VM's own (tdp.h) the second to the third; the
 * CPU gets one set of tables with both steps in one, the shadow. Where L1 does not, the first two
 * are the same, the CPU gets the VM's own tables, and nothing is shadowed.
 *
 * The shadow is a TLB: it holds what L1's tables said at some time since L1 last flushed. What L1
 * makes more permissive is seen at the next fault, what it takes away at the next flush, as on a
 * CPU (AMD APM vol. 2, "TLB Control"). So nobody watches L1's tables: the shadow is compared with
 * them, table by table, when it is used for the first time after a flush.
 *
 * Unless said otherwise the functions are for the vCPU's own thread, with srcu held, and may sleep.
 */
#ifndef STRATA_MMU_NESTED_H
#define STRATA_MMU_NESTED_H

#include <linux/bits.h>
#include <linux/types.h>

struct vcpu;

/* Requests of this room (virt_vcpu.requests) are in strata.h: REQ_NESTED_FAULT */

/* How the entries of L1's nested tables look */
enum mmu_nested_format {
	NESTED_NONE,	/* L1 uses no nested paging: L2's physical addresses are L1's */
	NESTED_NPT,	/* those of L1's own paging mode: 32-bit, PAE, 4 or 5 levels */
};

/**
 * struct mmu_nested_conf - how L1 has L2's physical addresses translated
 * @format: enum mmu_nested_format; the rest but @asid counts only if it is not NESTED_NONE
 * @asid: L1's tag of the translations (ASID), not 0
 * @root: nCR3 as L1 wrote it; bits that are no address are ignored
 * @cr4: L1's CR4 at VMRUN, which decides about the format of its tables: PSE, PAE, LA57 (and SMEP:
 *	an error code bit)
 * @efer: L1's EFER at VMRUN: NXE, LMA
 * @pat: L1's PAT, for the memory types of its tables
 */
struct mmu_nested_conf {
	u8 format;
	u32 asid;
	u64 root;
	unsigned long cr4;
	u64 efer;
	u64 pat;
};

/* Beside the #PF error code's bits: EXITINFO1 of a nested page fault has them too. */
#define NESTED_FAULT_FINAL	BIT_ULL(32)	/* the translation of the address itself failed */
#define NESTED_FAULT_TABLE	BIT_ULL(33)	/* that of a table of L2's failed */

/**
 * struct mmu_nested_fault - a fault that belongs to L1
 * @gpa: L2's physical address, to the byte
 * @error: as in EXITINFO1: P, W, U (always), RSVD, I/D and one of NESTED_FAULT_*
 */
struct mmu_nested_fault {
	u64 gpa;
	u64 error;
};

enum nested_fault_result {
	NESTED_FAULT_DONE,	/* the shadow allows it now, or a signal is pending: enter again */
	NESTED_FAULT_REFLECT,	/* L1's tables do not: nested page fault of L1, see struct mmu_nested_fault */
	NESTED_FAULT_MMIO,	/* no memory of L1's is there: emulate in L2; @gpa is L1's physical address */
	NESTED_FAULT_ERROR,	/* KVM_RUN returns vcpu->error */
};

/**
 * mmu_nested_enter() - the vCPU goes to L2
 * @v: the vCPU
 * @conf: as in the control block that L1 enters with, checked by the caller as a copy
 *
 * From here on v->mmu.root_hpa is what L2's control block needs, until mmu_nested_leave(): call
 * backend set_root for it. mmu_walk() and the emulator translate through L1's tables. No memory of
 * the guest's is touched.
 *
 * A flush that comes with VMRUN itself (TLB_CONTROL) is to be asked for before, with
 * mmu_nested_flush() or mmu_nested_flush_asid().
 *
 * Return: 0; 1: what the CPU has of the context's translations (mmu_nested_context()) may not be
 * used any more: L1 flushed, or uses ASID or root for the first time. -ENOMEM: nothing has changed,
 * KVM_RUN returns it and may come again. -EOPNOTSUPP: format not known.
 */
int mmu_nested_enter(struct vcpu *v, const struct mmu_nested_conf *conf);

/* The context that L2 runs or ran in last, 0..NESTED_CONTEXTS-1 */
unsigned int mmu_nested_context(const struct vcpu *v);

/* The context of an ASID of L1's; -1: L1 has flushed it, or did not use it yet. */
int mmu_nested_find(const struct vcpu *v, u32 asid);

/**
 * mmu_nested_leave() - the vCPU is back in L1
 * @v: the vCPU
 *
 * v->mmu.root_hpa is that of L1 again. Does not sleep, and may be called when the vCPU is in L1
 * already.
 */
void mmu_nested_leave(struct vcpu *v);

/* L1's physical addresses and L2's differ now. */
bool mmu_nested_paging(const struct vcpu *v);

/**
 * mmu_nested_fault() - L2 had a nested page fault in the CPU
 * @v: the vCPU, in L2 with L1 using nested paging (without, it is mmu_fault()'s)
 * @gpa: L2's physical address, as the CPU reported it
 * @access: ACCESS_PRESENT, ACCESS_WRITE, ACCESS_FETCH
 * @table: it was on a table of L2's
 * @f: filled in for NESTED_FAULT_REFLECT and NESTED_FAULT_MMIO
 */
enum nested_fault_result mmu_nested_fault(struct vcpu *v, u64 gpa, u32 access, bool table,
					  struct mmu_nested_fault *f);

/**
 * mmu_nested_translate() - from L2's physical address to L1's
 * @v: the vCPU, in L2
 * @gpa: L2's physical address
 * @access: ACCESS_WRITE, ACCESS_FETCH
 * @l1_gpa: L1's; the same where L1 uses no nested paging
 * @f: filled in if the return is 1; its @error has NESTED_FAULT_FINAL
 *
 * Sets A and D in L1's tables. Return: 0; 1: L1's tables do not allow it; -EFAULT: userspace's
 * memory is not there.
 */
int mmu_nested_translate(struct vcpu *v, u64 gpa, u32 access, u64 *l1_gpa,
			 struct mmu_nested_fault *f);

/**
 * mmu_nested_take_fault() - a fault that an emulated access of L2's met
 * @v: the vCPU
 * @f: filled in
 *
 * An emulated instruction that meets one ends without effect, emu_run() returns EXIT_RESUME and
 * REQ_NESTED_FAULT is set: before the next entry L1 is to have its exit. The same holds for
 * mmu_walk(), whose return is then 2. Return: there was one; it is forgotten.
 */
bool mmu_nested_take_fault(struct vcpu *v, struct mmu_nested_fault *f);

/**
 * mmu_nested_flush() - L1 flushed everything (TLB_CONTROL 1; its own CR0, CR4 or EFER changed the
 * format of its tables)
 * @v: the vCPU, in L1 or L2
 *
 * In L1 it takes effect at the next mmu_nested_enter(), which then returns 1; in L2 at once, and
 * the caller flushes the CPU's TLB. The same for the others of this kind.
 */
void mmu_nested_flush(struct vcpu *v);

/* TLB_CONTROL 3 and 7: one ASID of L1's */
void mmu_nested_flush_asid(struct vcpu *v, u32 asid);

/**
 * mmu_nested_flush_addr() - INVLPGA
 * @v: the vCPU
 * @context: what mmu_nested_find() gave
 *
 * The caller takes the address out of the CPU's TLB. What it stood for when its translation was
 * made is not known, so the whole shadow is compared with L1's tables when it is used next, in L2
 * at once; of what the CPU has nothing else goes, as L1 has not flushed it.
 */
void mmu_nested_flush_addr(struct vcpu *v, unsigned int context);

/**
 * mmu_nested_reset() - as if L1 had flushed everything, on all vCPUs
 * @v: the vCPU
 *
 * For nested state that userspace sets: it may have written guest memory before, of which L1's
 * flushes know nothing.
 */
void mmu_nested_reset(struct vcpu *v);

#endif
