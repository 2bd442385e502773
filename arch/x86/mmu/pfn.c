// SPDX-License-Identifier: GPL-2.0
/*
 * From a userspace address to a host frame.
 *
 * The usual way is to read the host's page tables, with interrupts off so that they stay: that
 * gives frame, permissions, size and neighbours in one go and takes no reference. It is safe
 * because who takes a page from the address space announces that through the MMU notifier first,
 * and the fault is only finished if no such announcement came meanwhile. What is not there is
 * faulted in with get_user_pages() and looked up again. What remains (zero page, DAX: frames that
 * only GUP may name; then mappings without struct page) takes its own way, as 4K pages.
 */
#include "fault.h"
#include "../strata.h"
#include "../../../include/compat/pfnmap.h"

#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched/signal.h>
#include <asm/pgtable.h>

/*
 * May a present host entry of any size be mapped, for reading or for writing? Flags are in the same
 * places at all levels. The protection keys of the thread count as for its own accesses; pages
 * under NUMA hinting are not present.
 */
static bool host_entry_ok(u64 entry, bool write)
{
	return !(entry & (_PAGE_SPECIAL | _PAGE_DEVMAP)) && __pte_access_permitted(entry, write);
}

/*
 * Find the host's leaf of an address. Interrupts off. Return: its level, 0 if there is none; for
 * level 1 @ptep is its place.
 */
static __always_inline int host_leaf(struct mm_struct *mm, unsigned long hva, u64 *entry, u64 *pfn,
				     pte_t **ptep)
{
	pgd_t pgd = READ_ONCE(*pgd_offset(mm, hva));
	p4d_t p4d;
	pud_t pud;
	pmd_t pmd;
	pte_t pte;

	if (pgtable_l5_enabled() && !pgd_present(pgd))
		return 0;
	/* With four levels the p4d is the pgd entry itself, in the local copy. */
	p4d = READ_ONCE(*p4d_offset(&pgd, hva));
	if (!p4d_present(p4d))
		return 0;
	pud = READ_ONCE(*pud_offset(&p4d, hva));
	if (!(pud_flags(pud) & _PAGE_PRESENT))
		return 0;
	if (pud_leaf(pud)) {
		*entry = pud_val(pud);
		*pfn = pud_pfn(pud) + ((hva & ~PUD_MASK) >> PAGE_SHIFT);
		return 3;
	}
	pmd = READ_ONCE(*pmd_offset(&pud, hva));
	if (!(pmd_flags(pmd) & _PAGE_PRESENT))
		return 0;
	if (pmd_leaf(pmd)) {
		*entry = pmd_val(pmd);
		*pfn = pmd_pfn(pmd) + ((hva & ~PMD_MASK) >> PAGE_SHIFT);
		return 2;
	}
	*ptep = pte_offset_kernel(&pmd, hva);
	pte = READ_ONCE(**ptep);
	if (!(pte_flags(pte) & _PAGE_PRESENT))
		return 0;
	*entry = pte_val(pte);
	*pfn = pte_pfn(pte);
	return 1;
}

int fault_host_level(struct mm_struct *mm, unsigned long hva)
{
	unsigned long flags;
	u64 entry, pfn;
	pte_t *ptep;
	int level;

	local_irq_save(flags);
	level = host_leaf(mm, hva, &entry, &pfn, &ptep);
	local_irq_restore(flags);
	return level && host_entry_ok(entry, false) ? level : 0;
}

static bool slot_writable(const struct fault *f)
{
	return !(f->slot->flags & KVM_MEM_READONLY);
}

static void fault_read_group(struct fault *f, pte_t *ptep)
{
	unsigned int i;

	ptep -= fault_group_index(f);
	for (i = 0; i < FAULT_GROUP; i++)
		f->group[i] = pte_val(READ_ONCE(ptep[i]));
}

static bool fault_host_walk(struct fault *f)
{
	unsigned long flags;
	pte_t *ptep;
	bool write;

	local_irq_save(flags);
	f->level = host_leaf(f->v->virt.vm->mm, f->hva, &f->host, &f->pfn, &ptep);
	if (f->level == 1)
		fault_read_group(f, ptep);
	local_irq_restore(flags);
	if (!f->level)
		return false;
	write = host_entry_ok(f->host, true);
	if (!write && ((f->access & ACCESS_WRITE) || !host_entry_ok(f->host, false)))
		return false;
	f->writable = write && slot_writable(f);
	f->uncached = false;
	f->clean = !(f->host & _PAGE_DIRTY);
	return true;
}

/*
 * Frame of a mapping without struct page. mmap_lock held for reading. Return: 0, -EAGAIN (fault it
 * in), -EFAULT.
 */
static int fault_follow_pfnmap(struct fault *f)
{
	struct vm_area_struct *vma = vma_lookup(f->v->virt.vm->mm, f->hva);
	bool write = f->access & ACCESS_WRITE;
	struct follow_pfnmap_args args = { .vma = vma, .address = f->hva };
	int ret = 0;

	if (!vma || !(vma->vm_flags & (VM_IO | VM_PFNMAP)) || !(vma->vm_flags & (write ? VM_WRITE : VM_READ)))
		return -EFAULT;
	if (follow_pfnmap_start(&args))
		return -EAGAIN;
	if (write && !args.writable) {
		ret = -EAGAIN;
	} else {
		f->pfn = args.pfn;
		f->level = 1;
		f->clean = false;	/* nobody's page cache */
		f->writable = args.writable && slot_writable(f);
		/*
		 * The type that the host chose for its own mapping; write-back has none of the
		 * three bits.
		 */
		f->uncached = pgprot_val(args.pgprot) & (_PAGE_PWT | _PAGE_PCD | _PAGE_PAT);
	}
	follow_pfnmap_end(&args);
	return ret;
}

static int fault_pfnmap(struct fault *f)
{
	struct mm_struct *mm = f->v->virt.vm->mm;
	unsigned int flags = f->access & ACCESS_WRITE ? FAULT_FLAG_WRITE : 0;
	bool unlocked = false;
	int tries, ret = -EFAULT;

	mmap_read_lock(mm);
	for (tries = 0; tries < 3; tries++) {
		ret = fault_follow_pfnmap(f);
		if (ret != -EAGAIN)
			break;
		ret = fixup_user_fault(mm, f->hva, flags, &unlocked);
		if (ret)
			break;
		ret = -EFAULT;
	}
	mmap_read_unlock(mm);
	return ret;
}

/* Fault a page in. Return: 1 and f->pfn, -errno; with FOLL_NOWAIT 0 if it has to be waited for. */
static int fault_page_in(struct fault *f, unsigned int flags)
{
	struct page *page;
	long ret;

	flags |= FOLL_HWPOISON | FOLL_HONOR_NUMA_FAULT;
	if (f->access & ACCESS_WRITE)
		flags |= FOLL_WRITE;
	ret = get_user_pages_unlocked(f->hva, 1, &page, flags);
	if (ret != 1)
		return ret || (flags & FOLL_NOWAIT) ? ret : -EFAULT;
	f->pfn = page_to_pfn(page);
	f->level = 1;
	f->writable = (f->access & ACCESS_WRITE) && slot_writable(f);
	f->uncached = false;
	f->clean = true;
	put_page(page);
	return 1;
}

/* What takes long the guest need not wait for. Return: as fault_page_in(), or -EINPROGRESS. */
static int fault_page_soon(struct fault *f)
{
	int ret = fault_page_in(f, FOLL_NOWAIT);

	if (ret)
		return ret;
	return apf_start(f->v, f->gfn << PAGE_SHIFT, f->hva, f->access & ACCESS_WRITE) ? -EINPROGRESS : 0;
}

int fault_find_pfn(struct fault *f)
{
	int tries, ret;

	for (tries = 0; ; tries++) {
		f->seq = READ_ONCE(f->v->virt.vm->inval_seq);
		/*
		 * Pairs with the notifier's writes under mmu_lock: the tables are read after the
		 * count.
		 */
		smp_rmb();
		if (fault_host_walk(f))
			return 0;
		f->host = 0;
		ret = unlikely(f->v->pv.apf.on) && !tries ? fault_page_soon(f) : 0;
		if (!ret)
			ret = fault_page_in(f, FOLL_INTERRUPTIBLE);
		if (ret == -EFAULT)
			return fault_pfnmap(f);
		if (ret < 0)
			return signal_pending(current) ? -EINTR : ret;
		/*
		 * The first time the page is looked up again, as that tells more; then GUP's word
		 * is taken.
		 */
		if (tries)
			return 0;
	}
}
