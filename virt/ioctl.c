// SPDX-License-Identifier: GPL-2.0
/*
 * The ioctl tables: filled once at load, read by number afterwards.
 */
#include "ioctl.h"

#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

struct ioctl_table dev_ioctls, vm_ioctls, vcpu_ioctls;
bool virt_load_for_regs;

int ioctl_table_add(struct ioctl_table *table, const struct ioctl_row *rows, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		const struct ioctl_row **slot = table->row[_IOC_NR(rows[i].cmd)];

		if (slot[0])
			slot++;
		if (WARN_ON_ONCE(*slot))
			return -EINVAL;
		*slot = &rows[i];
	}
	return 0;
}

int ioctl_fill(struct ioctl_buffer *b, const struct ioctl_row *row, unsigned long arg, void *stack)
{
	unsigned int size = _IOC_SIZE(row->cmd);

	b->data = stack;
	if (size > IOCTL_STACK) {
		b->heap = kvmalloc(size, GFP_KERNEL_ACCOUNT);
		if (!b->heap)
			return -ENOMEM;
		b->data = b->heap;
	}
	if (!(_IOC_DIR(row->cmd) & _IOC_WRITE)) {
		if (!(row->flags & IOCTL_FILLS))
			memset(b->data, 0, size);
		return 0;
	}
	if (copy_from_user(b->data, (void __user *)arg, size)) {
		ioctl_free(b);
		return -EFAULT;
	}
	return 0;
}
