// SPDX-License-Identifier: GPL-2.0
/*
 * Page-modification logging (SDM, "Page-Modification Logging"): the CPU writes the address of each
 * page whose D bit it sets into a page of 512 entries, from the last to the first, and exits when
 * there is no room.
 *
 * The page is emptied at every exit to the run loop, before the vCPU counts as outside the guest:
 * who has waited for that finds everything in the bitmaps. Leaves outside logged slots have their D
 * bit from the start and cause no entries.
 */
#include "vmx.h"
#include "insn.h"

#include <linux/slab.h>

#define PML_ENTRIES	512

int vmx_pml_alloc(struct vmx_vcpu *vmx)
{
	if (!vmx_has2(SECONDARY_EXEC_ENABLE_PML))
		return 0;
	vmx->pml = (u64 *)__get_free_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	return vmx->pml ? 0 : -ENOMEM;
}

void vmx_pml_free(struct vmx_vcpu *vmx)
{
	free_page((unsigned long)vmx->pml);
	vmx->pml = NULL;
}

void vmx_pml_init(struct vmx_vcpu *vmx)
{
	if (!vmx->pml)
		return;
	vmwrite(PML_ADDRESS, __pa(vmx->pml));
	vmwrite(GUEST_PML_INDEX, PML_ENTRIES - 1);
}

void vmx_pml_drain(struct vmx_vcpu *vmx)
{
	struct vcpu *v = &vmx->vcpu;
	/*
	 * The entry that is written next; beyond the page after the first one, which is the last to
	 * be written.
	 */
	u16 next = vmread(GUEST_PML_INDEX);
	unsigned int i;

	if (next == PML_ENTRIES - 1)
		return;
	virt_srcu_resume(&v->virt);
	for (i = next >= PML_ENTRIES ? 0 : next + 1; i < PML_ENTRIES; i++)
		mmu_log_write(v, vmx->pml[i]);
	virt_srcu_pause(&v->virt);
	vmwrite(GUEST_PML_INDEX, PML_ENTRIES - 1);
}
