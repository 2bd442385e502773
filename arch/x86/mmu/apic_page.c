// SPDX-License-Identifier: GPL-2.0
/*
 * What is mapped where guests look for their local APIC's registers, on CPUs that know accesses to
 * it by the frame they end in.
 *
 * The frame is nobody's memory: the CPU puts the vCPU's own registers in its place, or exits. That
 * holds for vCPUs that have their registers there and by MMIO. As all vCPUs of a VM share its
 * tables, it is mapped only while each of them has; a memory slot at that address is above it.
 */
#include "tdp.h"
#include "../../../virt/arch.h"
#include "../../../virt/virt.h"

#define APIC_GFN	(LAPIC_BASE_RESET >> PAGE_SHIFT)

int mmu_apic_page_alloc(struct vm *vm)
{
	lockdep_assert_held(&vm->virt.lock);

	if (!vm->mmu.apic_page)
		vm->mmu.apic_page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	return vm->mmu.apic_page ? 0 : -ENOMEM;
}

void mmu_apic_page_free(struct vm *vm)
{
	if (vm->mmu.apic_page)
		__free_page(vm->mmu.apic_page);
	vm->mmu.apic_page = NULL;
}

/* mmu_lock held exclusively */
static void apic_page_unmap(struct vm *vm, unsigned int as_id)
{
	LIST_HEAD(tables);

	if (tdp_zap(vm, as_id, APIC_GFN, APIC_GFN + 1, false, &tables))
		virt_request_all(&vm->virt, VIRT_REQ_TLB_FLUSH);
}

void mmu_apic_page_hide(struct vm *vm)
{
	unsigned int i;

	write_lock(&vm->virt.mmu_lock);
	if (!vm->mmu.apic_page_hidden++ && vm->mmu.apic_page)
		for (i = 0; i < VIRT_ADDRESS_SPACES; i++)
			apic_page_unmap(vm, i);
	write_unlock(&vm->virt.mmu_lock);
}

void mmu_apic_page_show(struct vm *vm)
{
	write_lock(&vm->virt.mmu_lock);
	vm->mmu.apic_page_hidden--;
	write_unlock(&vm->virt.mmu_lock);
}

/* Who faulted before the slot was there may have mapped the page since. */
void arch_slot_added(struct virt_vm *virt, const struct virt_slot *slot)
{
	struct vm *vm = to_vm(virt);

	if (!vm->mmu.apic_page || APIC_GFN < slot->base_gfn ||
	    APIC_GFN >= slot->base_gfn + slot->npages)
		return;
	write_lock(&virt->mmu_lock);
	apic_page_unmap(vm, slot->as_id);
	write_unlock(&virt->mmu_lock);
}

/* mmu_lock held, shared at least */
static bool apic_page_install(struct vcpu *v)
{
	const struct vm_mmu *mmu = &vcpu_vm(v)->mmu;
	u64 *entry, new, old = 0;

	if (mmu->apic_page_hidden)
		return false;
	entry = tdp_reach(v, APIC_GFN, 1, 0);
	if (!entry)
		return false;
	/* As if it were dirty: no log is to have it. */
	new = tdp_make_leaf(page_to_pfn(mmu->apic_page), 1, TDP_WRITE | TDP_ACCESSED | TDP_DIRTY);
	return try_cmpxchg(entry, &old, new) || tdp_present(old);
}

bool mmu_apic_page_map(struct vcpu *v)
{
	struct virt_vm *vm = v->virt.vm;
	bool done;

	if (virt_vcpu_slot(&v->virt, APIC_GFN))
		return false;
	if (v->mmu.cache_nr < vcpu_vm(v)->mmu.levels && tdp_cache_fill(v))
		return false;
	read_lock(&vm->mmu_lock);
	done = apic_page_install(v);
	read_unlock(&vm->mmu_lock);
	return done;
}
