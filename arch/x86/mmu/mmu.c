// SPDX-License-Identifier: GPL-2.0
/*
 * Life of the nested page tables of a VM and of what a vCPU keeps for them.
 */
#include "shadow.h"
#include "tdp.h"

#include <linux/io.h>

int mmu_module_init(void)
{
	rdmsrl(MSR_IA32_CR_PAT, shadow_host_pat);
	nx_module_init();
	return 0;
}

void mmu_module_exit(void)
{
	nx_module_exit();
	/* Tables are freed by code of this module. */
	rcu_barrier();
}

int mmu_vm_init(struct vm *vm)
{
	unsigned int i;

	nx_vm_init(vm);
	vm->mmu.levels = backend_caps.tdp_levels;
	for (i = 0; i < ARRAY_SIZE(vm->mmu.root); i++) {
		vm->mmu.root[i] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!vm->mmu.root[i]) {
			mmu_vm_destroy(vm);
			return -ENOMEM;
		}
		atomic_long_inc(&vm->mmu.pages);
	}
	return 0;
}

void mmu_vm_destroy(struct vm *vm)
{
	struct page *page, *tmp;
	LIST_HEAD(tables);
	unsigned int i, index;

	nx_vm_destroy(vm);
	shadow_destroy(vm);
	for (i = 0; i < ARRAY_SIZE(vm->mmu.root); i++) {
		u64 *root;

		if (!vm->mmu.root[i])
			continue;
		root = tdp_root(vm, i);
		for (index = 0; index < TDP_ENTRIES; index++)
			if (tdp_table(root[index], vm->mmu.levels))
				tdp_collect(vm, root[index], vm->mmu.levels, &tables);
		list_add(&vm->mmu.root[i]->lru, &tables);
		vm->mmu.root[i] = NULL;
	}
	/* Nobody walks them any more. */
	list_for_each_entry_safe(page, tmp, &tables, lru)
		__free_page(page);
	mmu_apic_page_free(vm);
}

static u64 root_of(struct vcpu *v)
{
	return __sme_set(page_to_phys(vcpu_vm(v)->mmu.root[v->virt.as_id]));
}

int mmu_vcpu_init(struct vcpu *v)
{
	v->mmu.root_hpa = root_of(v);
	mmu_mode_changed(v);
	return 0;
}

void mmu_use_address_space(struct vcpu *v, unsigned int as_id)
{
	if (v->virt.as_id == as_id)
		return;
	v->virt.as_id = as_id;
	/* The last hit came from the other one's array. */
	v->virt.last_slots = NULL;
	v->mmu.root_hpa = root_of(v);
	/*
	 * L1's tables are in the other one as well: the shadow's root is looked for again before
	 * the next entry. The old one's are out of sight.
	 */
	if (mmu_nested_paging(v)) {
		mmu_nested_leave(v);
		virt_request(&v->virt, REQ_NESTED_PAGES);
	}
	mmu_nested_flush(v);
	backend_call(set_root)(v);
}

void mmu_vcpu_destroy(struct vcpu *v)
{
	shadow_vcpu_destroy(v);
	tdp_cache_drain(v);
}
