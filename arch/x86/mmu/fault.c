// SPDX-License-Identifier: GPL-2.0
/*
 * Nested page faults: find the slot and the host's page, put a leaf into the tables.
 *
 * Any number of vCPUs do this at once, with mmu_lock held shared, or without it where only write
 * protection is lifted. Only where a table has to make way for a huge leaf is the lock taken
 * exclusively. See pfn.c for why no reference to the page is needed.
 */
#include "fault.h"
#include "shadow.h"
#include "tdp.h"

#include <linux/page-flags.h>
#include <linux/sched/signal.h>

/* Huge leaves are not executable (nx.h). */
static bool fault_noexec(const struct fault *f)
{
	return nx_huge(&vcpu_vm(f->v)->mmu.nx);
}

static bool fault_logged(const struct fault *f)
{
	return f->slot->flags & KVM_MEM_LOG_DIRTY_PAGES;
}

/*
 * An invalidation of this address is under way, or one finished since the host's tables were read.
 * mmu_lock held.
 */
static bool fault_stale(const struct fault *f)
{
	const struct virt_vm *vm = f->v->virt.vm;

	if (unlikely(vm->inval_count) && f->hva >= vm->inval_first && f->hva <= vm->inval_last)
		return true;
	return vm->inval_seq != f->seq;
}

/* Largest leaf that slot and host allow. */
static int fault_level(const struct fault *f)
{
	const struct virt_slot *slot = f->slot;
	int level = min_t(int, f->level, backend_caps.tdp_max_level);

	if (fault_logged(f))
		return 1;
	for (; level > 1; level--) {
		u64 mask = tdp_span(level) - 1;
		u64 first = f->gfn & ~mask;

		if ((slot->base_gfn ^ (slot->hva >> PAGE_SHIFT)) & mask)
			continue;
		if (first >= slot->base_gfn && first + mask < slot->base_gfn + slot->npages)
			break;
	}
	return level;
}

/*
 * Write access to a page that only dirty logging protects: no need to look at the host, nor for a
 * lock. Dirty logging takes a page's bit, then protects the page; here the entry is changed, then
 * the bit set, with full barriers between. So the bit is set when both are done, or the page
 * protected. True if that was it.
 */
static bool fault_unprotect(const struct fault *f)
{
	const struct tdp_format *fmt = tdp_format();
	bool done = false;
	u64 *entry, old;
	int level;

	rcu_read_lock();
	entry = tdp_find(vcpu_vm(f->v), f->v->virt.as_id, f->gfn, &level);
	old = READ_ONCE(*entry);
	while (tdp_present(old) && (old & fmt->soft_writable) && (level == 1 || !fault_logged(f)) &&
	       tdp_allows(old | fmt->write, f->access)) {
		done = try_cmpxchg(entry, &old, old | fmt->write | fmt->accessed | fmt->dirty);
		if (!done)
			continue;
		virt_mark_dirty(f->slot, f->gfn);
		break;
	}
	rcu_read_unlock();
	return done;
}

static void fault_dirty_host_page(u64 pfn)
{
	struct page *page = pfn_to_page(pfn);

	/*
	 * The host may drop a page that neither its own mapping nor the page itself calls dirty.
	 * Before it cleans either of them again it takes this mapping away.
	 */
	if (!PageDirty(page) && !PageReserved(page))
		SetPageDirty(page);
}

/* A leaf for @pfn, mapped for @access (0: in advance). */
static u64 fault_leaf(const struct fault *f, u64 pfn, int level, bool writable, u32 access)
{
	u32 flags = 0;

	if (writable)
		flags |= TDP_MAY_WRITE;
	if (writable &&
	    (!fault_logged(f) || (access & ACCESS_WRITE) || backend_caps.tdp_logs_writes))
		flags |= TDP_WRITE;
	/* Nobody wants to know, so that the CPU is not to note it. */
	if (!fault_logged(f))
		flags |= TDP_DIRTY;
	if (level == 1 || !fault_noexec(f))
		flags |= TDP_EXEC;
	if (f->uncached)
		flags |= TDP_UNCACHED;
	return tdp_make_leaf(pfn & ~(tdp_span(level) - 1), level, flags);
}

/*
 * Map those neighbours that the host maps in the same way as the page itself, as far as slot and
 * table go. @entry is the page's own. They get their A bit when they are used.
 */
static void fault_map_group(const struct fault *f, u64 *entry)
{
	const u64 differ = ~(PTE_PFN_MASK | _PAGE_ACCESSED | _PAGE_DIRTY | _PAGE_SOFT_DIRTY);
	u64 leaf = fault_leaf(f, 0, 1, f->writable, 0);
	u64 offset = f->gfn - f->slot->base_gfn;
	int self = fault_group_index(f), index = tdp_index(f->gfn, 1);
	int i = max(self - (int)min_t(u64, index, offset), 0);
	int end = min_t(u64, self + min_t(u64, TDP_ENTRIES - index, f->slot->npages - offset),
			FAULT_GROUP);

	for (; i < end; i++) {
		u64 *neighbour = &entry[i - self];
		u64 old = 0, host = f->group[i];

		if (((host ^ f->host) & differ) || READ_ONCE(*neighbour))
			continue;
		if (try_cmpxchg(neighbour, &old, leaf | (host & PTE_PFN_MASK)) && f->writable &&
		    !(host & _PAGE_DIRTY))
			fault_dirty_host_page((host & PTE_PFN_MASK) >> PAGE_SHIFT);
	}
}

static u32 fault_split(const struct fault *f)
{
	u32 split = fault_noexec(f) ? TDP_SPLIT_EXEC : 0;

	if (fault_logged(f) && backend_caps.tdp_logs_writes)
		split |= TDP_SPLIT_LOG;
	return split;
}

/* The leaf, or the leaves below it, are not what they were for the shadow. mmu_lock held. */
static void fault_shadow_zap(const struct fault *f)
{
	u64 gfn = f->gfn & ~(tdp_span(f->level) - 1);

	shadow_zap(vcpu_vm(f->v), f->v->virt.as_id, gfn, gfn + tdp_span(f->level));
}

enum install { INSTALL_DONE, INSTALL_FLUSH, INSTALL_RETRY, INSTALL_COLLAPSE };

/* Put the leaf in. mmu_lock held, shared at least. */
static enum install fault_install(struct fault *f)
{
	const struct tdp_format *fmt = tdp_format();
	enum install ret = INSTALL_DONE;
	u64 *entry, new, old;

	if (fault_stale(f))
		return INSTALL_RETRY;
	if (fault_logged(f))
		mmu_want_log(&vcpu_vm(f->v)->mmu);
	entry = tdp_reach(f->v, f->gfn, f->level, fault_split(f));
	if (!entry)
		return INSTALL_RETRY;
	new = fault_leaf(f, f->pfn, f->level, f->writable, f->access) | fmt->accessed;
	if (f->access & ACCESS_WRITE)
		new |= fmt->dirty;
	old = READ_ONCE(*entry);
	do {
		if (tdp_present(old)) {
			if (!tdp_leaf(old, f->level))
				return INSTALL_COLLAPSE;
			if (tdp_allows(old, f->access))
				return INSTALL_DONE;
			if (tdp_pfn(old) == tdp_pfn(new))
				new |= old & (fmt->accessed | fmt->dirty);
			else
				ret = INSTALL_FLUSH;
		}
	} while (!try_cmpxchg(entry, &old, new));
	/* Another frame, or other rights: what was made from the old leaf goes. */
	if (unlikely(tdp_present(old)))
		fault_shadow_zap(f);
	if (f->writable && f->clean)
		fault_dirty_host_page(f->pfn);
	if (f->access & ACCESS_WRITE)
		virt_mark_dirty(f->slot, f->gfn);
	/*
	 * fault_stale() has judged the neighbours too, unless an invalidation is under way
	 * somewhere.
	 */
	if (f->host && !f->v->virt.vm->inval_count)
		fault_map_group(f, entry);
	return ret;
}

/* A table is where a huge leaf fits: replace it. */
static void fault_collapse(struct fault *f)
{
	struct vm *vm = vcpu_vm(f->v);
	LIST_HEAD(tables);
	enum install ret;
	u64 *entry, old;

	write_lock(&vm->virt.mmu_lock);
	ret = fault_install(f);
	if (ret == INSTALL_COLLAPSE) {
		entry = tdp_reach(f->v, f->gfn, f->level, fault_split(f));
		old = xchg(entry, 0);
		tdp_collect(vm, old, f->level, &tables);
		fault_shadow_zap(f);
		virt_request_all(&vm->virt, VIRT_REQ_TLB_FLUSH);
		fault_install(f);
	}
	write_unlock(&vm->virt.mmu_lock);
	tdp_free_tables(vm, &tables);
}

/*
 * The table where a leaf of f->level would be, after INSTALL_COLLAPSE: is it there because of a
 * fetch? mmu_lock held.
 */
static bool fault_stays_split(const struct fault *f)
{
	const u64 *entry = tdp_reach(f->v, f->gfn, f->level, 0);

	return nx_is_split(virt_to_page(tdp_child(READ_ONCE(*entry))));
}

/*
 * The tables that a fetch needs where there could be a leaf of level @largest, the one that goes as
 * a whole first. mmu_lock held.
 */
static void fault_note_split(const struct fault *f, int largest)
{
	int level;

	for (level = largest; level > 1; level--) {
		u64 *entry = tdp_reach(f->v, f->gfn, level - 1, 0);

		nx_note(vcpu_vm(f->v), f->v->virt.as_id, f->gfn, level, virt_to_page(entry));
	}
}

/* mmu_lock held shared */
static enum install fault_map_noexec(struct fault *f, int largest)
{
	bool fetch = f->access & ACCESS_FETCH;
	enum install ret;

	f->level = fetch ? 1 : largest;
	ret = fault_install(f);
	while (ret == INSTALL_COLLAPSE && fault_stays_split(f)) {
		f->level--;
		ret = fault_install(f);
	}
	if (fetch && largest > 1 && ret != INSTALL_RETRY)
		fault_note_split(f, largest);
	return ret;
}

static void fault_map(struct fault *f)
{
	struct virt_vm *vm = f->v->virt.vm;
	enum install ret;

	if (f->level > 1)
		f->host = 0;	/* of a huge mapping, without neighbours */
	f->level = fault_level(f);
	read_lock(&vm->mmu_lock);
	ret = fault_noexec(f) ? fault_map_noexec(f, f->level) : fault_install(f);
	/* Another frame was mapped here: its translations must not outlive the lock. */
	if (ret == INSTALL_FLUSH)
		virt_request_all(vm, VIRT_REQ_TLB_FLUSH);
	read_unlock(&vm->mmu_lock);
	if (ret == INSTALL_COLLAPSE)
		fault_collapse(f);
}

static enum fault_result fault_failed(struct vcpu *v, unsigned long hva, int error)
{
	/* The run loop sees the signal, or the guest was given something else to do. */
	if (error == -EINTR || error == -ERESTARTSYS || error == -EINPROGRESS)
		return FAULT_DONE;
	if (error == -EHWPOISON) {
		send_sig_mceerr(BUS_MCEERR_AR, (void __user *)hva, PAGE_SHIFT, current);
		/*
		 * A VMM that listens turns it into a machine check; for one that does not the run
		 * ends.
		 */
		if (signal_pending(current))
			return FAULT_DONE;
	}
	v->error = error;
	return FAULT_ERROR;
}

enum fault_result mmu_fault(struct vcpu *v, u64 gpa, u32 access)
{
	struct fault f = { .v = v, .gfn = gpa >> PAGE_SHIFT, .access = access };
	int error;

	f.slot = virt_vcpu_slot(&v->virt, f.gfn);
	if (!f.slot || ((access & ACCESS_WRITE) && (f.slot->flags & KVM_MEM_READONLY)))
		return FAULT_MMIO;
	if (unlikely(f.gfn >= tdp_limit(vcpu_vm(v))))
		return fault_failed(v, 0, -EFAULT);
	if ((access & ACCESS_WRITE) && (access & ACCESS_PRESENT) && fault_unprotect(&f)) {
		v->virt.stats.pf_fast++;
		return FAULT_DONE;
	}
	f.hva = virt_slot_hva(f.slot, f.gfn);
	/* A root's path and a split at its end */
	if (unlikely(v->mmu.cache_nr < vcpu_vm(v)->mmu.levels) && tdp_cache_fill(v))
		return fault_failed(v, f.hva, -ENOMEM);
	error = fault_find_pfn(&f);
	if (unlikely(error))
		return fault_failed(v, f.hva, error);
	fault_map(&f);
	v->virt.stats.pf_fixed++;
	return FAULT_DONE;
}
