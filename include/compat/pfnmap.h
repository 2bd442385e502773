/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Host mappings without struct page, and the flags of get_user_pages() that came later.
 *
 * follow_pfnmap_start() replaced follow_pte() in 6.12. FOLL_INTERRUPTIBLE (6.2) lets signals end a
 * long page-in; FOLL_HONOR_NUMA_FAULT (6.6) asks for what older kernels always did.
 */
#ifndef STRATA_COMPAT_PFNMAP_H
#define STRATA_COMPAT_PFNMAP_H

#include <linux/mm.h>

#ifndef HAVE_FOLL_INTERRUPTIBLE
#define FOLL_INTERRUPTIBLE 0
#endif

#ifndef HAVE_FOLL_HONOR_NUMA_FAULT
#define FOLL_HONOR_NUMA_FAULT 0
#endif

#ifndef HAVE_FOLLOW_PFNMAP
struct follow_pfnmap_args {
	struct vm_area_struct *vma;
	unsigned long address;
	spinlock_t *lock;
	pte_t *ptep;
	unsigned long pfn;
	pgprot_t pgprot;
	bool writable;
	bool special;
};

static inline int follow_pfnmap_start(struct follow_pfnmap_args *args)
{
	int ret = follow_pte(args->vma->vm_mm, args->address, &args->ptep, &args->lock);
	pte_t pte;

	if (ret)
		return ret;
	pte = *args->ptep;
	args->pfn = pte_pfn(pte);
	args->pgprot = pte_pgprot(pte);
	args->writable = pte_write(pte);
	args->special = pte_special(pte);
	return 0;
}

static inline void follow_pfnmap_end(struct follow_pfnmap_args *args)
{
	/* follow_pte() does not tell sparse that it returns with the lock. */
	__acquire(args->lock);
	pte_unmap_unlock(args->ptep, args->lock);
}
#endif

#endif
