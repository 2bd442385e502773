/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Nested page tables of L1 (TDP), and the walker of guest page tables.
 */
#ifndef STRATA_MMU_H
#define STRATA_MMU_H

#include "nested.h"
#include "nested_pure.h"
#include "nx.h"
#include "walk_pure.h"

#include <linux/mm_types.h>
#include <linux/types.h>

struct vm;
struct vcpu;
struct virt_slot;
struct vm_shadow;
struct shadow_page;

/**
 * struct tdp_format - how an entry of nested page tables looks; one constant per backend
 * @present: bits of a present non-leaf entry (R, W, X or P, W, U)
 * @read: bits of a readable leaf
 * @write: bits that make a leaf writable
 * @exec: bits that make it executable (0 where @noexec says the contrary)
 * @noexec: bits that make it non-executable
 * @huge: leaf above 4K
 * @accessed: A bit, 0 if there is none
 * @dirty: D bit, 0 if there is none
 * @memtype: memory type bits of ordinary RAM
 * @memtype_uc: memory type bits of MMIO-like PFNs
 * @soft_writable: software bit: the slot and the host mapping allow writing (write-protected for
 *	dirty logging)
 * @addr: physical address bits
 */
struct tdp_format {
	u64 present, read, write, exec, noexec, huge, accessed, dirty, memtype, memtype_uc,
		soft_writable, addr;
};

/**
 * struct vm_mmu - nested page tables of a VM
 * @root: root table per address space, allocated at VM creation; replaced never, emptied on zap
 * @levels: depth of the tables, 4 or 5
 * @pages: (a) table pages in use
 * @logs_writes: what the CPU notes about written pages is wanted: there was a logged slot. It stays
 * @shadow_limit: KVM_SET_NR_MMU_PAGES, 0: not called
 * @shadow: shadow of L1's nested tables, NULL before the first of them; set once, with mmu_lock
 *	held exclusively
 * @nx: NX huge pages
 * @apic_page: (c) once set, with vm->lock: stands for the local APICs' registers at their default
 *	address, NULL where the CPU knows no such page
 * @apic_page_hidden: (mmu_lock) vCPUs that must not meet it
 */
struct vm_mmu {
	struct page *root[2];
	u8 levels;
	bool logs_writes;
	atomic_long_t pages;
	u32 shadow_limit;
	struct vm_shadow *shadow;
	struct vm_nx nx;
	struct page *apic_page;
	unsigned int apic_page_hidden;
};

/*
 * Contexts of L2 that a vCPU remembers: as many guests L1 can run in turn without the shadow being
 * compared each time.
 */
#define NESTED_CONTEXTS	4

/**
 * struct nested_context - translations of L2's that the CPU may hold
 * @asid: L1's tag, 0: unused
 * @format: enum mmu_nested_format
 * @root: address of L1's table, 0 without nested paging
 * @cr4: @efer: @pat: what its entries mean
 * @compare: L1 flushed an address of it: before it is used again the shadow is compared with L1's
 *	tables
 */
struct nested_context {
	u32 asid;
	u8 format;
	bool compare;
	u64 root;
	unsigned long cr4;
	u64 efer;
	u64 pat;
};

/**
 * struct vcpu_nested - the MMU's idea of L2; (v)
 * @active: the vCPU is in L2
 * @paging: and L1 uses nested paging
 * @fault_pending: @fault waits for mmu_nested_take_fault()
 * @last: the entry of @known that L2 runs or ran in last
 * @victim: the next entry of @known to be replaced
 * @known: contexts that have not been flushed by L1 since they were entered
 * @mode: format of L1's tables, from @mode_cr4, @mode_efer, @mode_features and @mode_maxphyaddr
 * @fault: a fault that belongs to L1
 * @root: the shadow's root, kept over exits to L1
 * @spare: shadow pages for the next fault
 * @spare_nr: how many
 */
struct vcpu_nested {
	bool active;
	bool paging;
	bool fault_pending;
	u8 last;
	u8 victim;
	struct nested_context known[NESTED_CONTEXTS];
	unsigned long mode_cr4;
	u64 mode_efer;
	u64 mode_features;
	u8 mode_maxphyaddr;
	struct nested_mode mode;
	struct mmu_nested_fault fault;
	struct shadow_page *root;
	struct shadow_page *spare[WALK_MAX_LEVELS];
	u8 spare_nr;
};

/**
 * struct vcpu_mmu - a vCPU's nested paging; (v)
 * @root_hpa: physical address of the root the control block is to use
 * @cache: zeroed table pages for the next fault
 * @cache_nr: how many
 * @mode: what the walker of guest page tables knows about the paging mode
 * @mode_cr0: @mode_cr4: @mode_efer: the registers @mode was made from
 * @mode_features: @mode_maxphyaddr: CPUID's part
 * @mode_valid: @mode was made, and since then CPUID has not changed
 * @nested: translation of L2
 */
struct vcpu_mmu {
	u64 root_hpa;
	struct page *cache[8];
	u8 cache_nr;
	bool mode_valid;
	unsigned long mode_cr0;
	unsigned long mode_cr4;
	u64 mode_efer;
	u64 mode_features;
	u8 mode_maxphyaddr;
	struct walk_mode mode;
	struct vcpu_nested nested;
};

enum fault_result {
	FAULT_DONE,	/* mapped, or somebody else did, or a signal is pending: go on */
	FAULT_MMIO,	/* no memory slot, or a write to a read-only one: emulate */
	FAULT_ERROR,	/* vcpu->error (-EFAULT, -ENOMEM, -EHWPOISON): KVM_RUN returns it */
};

/* The formats of the two vendors, for backend_caps.tdp_format */
extern const struct tdp_format tdp_format_npt;
extern const struct tdp_format tdp_format_ept;

int mmu_vm_init(struct vm *vm);
void mmu_vm_destroy(struct vm *vm);
int mmu_vcpu_init(struct vcpu *v);
void mmu_vcpu_destroy(struct vcpu *v);

/**
 * mmu_use_address_space() - which memory slots the vCPU sees from now on
 * @v: the vCPU, outside the guest
 * @as_id: 0, or 1 in system management mode
 */
void mmu_use_address_space(struct vcpu *v, unsigned int as_id);

int mmu_module_init(void);
void mmu_module_exit(void);

/**
 * mmu_fault() - a guest physical address was not mapped, or not for this access
 * @v: the vCPU, srcu held
 * @gpa: guest physical address, below 2^52
 * @access: ACCESS_WRITE, ACCESS_FETCH, ACCESS_PRESENT
 *
 * May sleep.
 */
enum fault_result mmu_fault(struct vcpu *v, u64 gpa, u32 access);

/* apic_page.c: see there. A page for the VM: vm->lock held; 0 or -ENOMEM. */
int mmu_apic_page_alloc(struct vm *vm);
void mmu_apic_page_free(struct vm *vm);
/*
 * One more vCPU must not meet the page: no CPU has a translation to it any more; or one less. vCPU
 * threads, outside the guest.
 */
void mmu_apic_page_hide(struct vm *vm);
void mmu_apic_page_show(struct vm *vm);
/*
 * Nothing was mapped at the local APIC's address, and the vCPU may meet the page. srcu held; may
 * sleep. True: go on.
 */
bool mmu_apic_page_map(struct vcpu *v);

/**
 * mmu_walk() - translate a linear address as the guest's CPU would
 * @v: the vCPU, srcu held
 * @linear: linear address, canonical
 * @access: ACCESS_WRITE, ACCESS_USER, ACCESS_FETCH, ACCESS_IMPLICIT
 * @w: outcome
 *
 * Sets A and D bits in the guest's tables as the CPU would. In L2 both steps are taken: @w->gpa is
 * L1's physical address.
 * Return: 0, 1 (#PF, @w->error), 2 (nested page fault of L1: see mmu_nested_take_fault()), -EFAULT
 * (tables outside memory).
 */
int mmu_walk(struct vcpu *v, u64 linear, u32 access, struct walk *w);

/* The same without changing anything (KVM_TRANSLATE, debugging) */
int mmu_walk_peek(struct vcpu *v, u64 linear, u32 access, struct walk *w);

/*
 * Up to 16 bytes of the instruction that the vCPU has just executed, at a linear address;
 * interrupts may be off, srcu held. Rights are not checked, nor bits set: the CPU has done that. 0
 * or -EAGAIN (not without sleeping: take the slow way).
 */
int mmu_fetch_nofault(struct vcpu *v, u64 linear, void *buf, unsigned int len);

/*
 * PAE: load the four pointers from guest memory at CR3. 0, 1 (reserved bits, or no memory there:
 * #GP). May sleep.
 */
int mmu_load_pdptrs(struct vcpu *v, u64 cr3);
/* The bits that one which is present may not have set. */
u64 mmu_pdptr_rsvd(const struct vcpu *v);

/* Before the first leaf that depends on it is made. */
static inline void mmu_want_log(struct vm_mmu *mmu)
{
	if (!READ_ONCE(mmu->logs_writes))
		WRITE_ONCE(mmu->logs_writes, true);
}

/*
 * The CPU set the D bit of a 4K leaf at @gpa (backend_caps.tdp_logs_writes). srcu held; interrupts
 * may be off.
 */
void mmu_log_write(struct vcpu *v, u64 gpa);

/*
 * CPUID of the guest changed: what the walker caches about the mode is stale. Changes of CR0, CR4
 * and EFER it sees by itself; calling this for them does no harm.
 */
void mmu_mode_changed(struct vcpu *v);

#endif
