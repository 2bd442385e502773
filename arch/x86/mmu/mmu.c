// SPDX-License-Identifier: GPL-2.0
/*
 * Life of the nested page tables of a VM and of what a vCPU keeps for them.
 */
#include "tdp.h"

#include <linux/io.h>

int mmu_vm_init(struct vm *vm)
{
	unsigned int i;

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
	LIST_HEAD(tables);
	unsigned int i, index;

	for (i = 0; i < ARRAY_SIZE(vm->mmu.root); i++) {
		u64 *root;

		if (!vm->mmu.root[i])
			continue;
		root = tdp_root(vm, i);
		for (index = 0; index < TDP_ENTRIES; index++)
			if (tdp_table(root[index], vm->mmu.levels))
				tdp_collect(root[index], vm->mmu.levels, &tables);
		list_add(&vm->mmu.root[i]->lru, &tables);
		vm->mmu.root[i] = NULL;
	}
	tdp_free_tables(vm, &tables);
}

int mmu_vcpu_init(struct vcpu *v)
{
	struct page *root = vcpu_vm(v)->mmu.root[v->virt.as_id];

	v->mmu.root_hpa = __sme_set(page_to_phys(root));
	mmu_mode_changed(v);
	return 0;
}

void mmu_vcpu_destroy(struct vcpu *v)
{
	tdp_cache_drain(v);
}
