/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One ioctl, one row.
 *
 * The dispatcher copies the argument in and out as the command's own encoding says, takes the locks
 * the row asks for, and calls the row's function, which lives with the object it is about.
 */
#ifndef STRATA_IOCTL_H
#define STRATA_IOCTL_H

#include <linux/bits.h>
#include <linux/ioctl.h>
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/types.h>
#include <linux/uaccess.h>

struct virt_vm;
struct virt_vcpu;

/*
 * IOCTL_RAW: variable size, or the argument is a plain number; the function copies itself.
 * IOCTL_LOAD: the vCPU is loaded around the call.
 * IOCTL_REGS: it is if virt_load_for_regs says that registers can be reached only then.
 * IOCTL_LOCK, IOCTL_SLOTS: vm->lock, vm->slots_lock are held around the call.
 * IOCTL_SRCU: vm->srcu is held for reading around the call.
 * IOCTL_UNLOCKED: a vCPU ioctl that does not take the vCPU's mutex.
 * IOCTL_FILLS: the function writes every byte of the argument, so that it need not be cleared
 * before.
 */
#define IOCTL_RAW	BIT(0)
#define IOCTL_LOAD	BIT(1)
#define IOCTL_LOCK	BIT(2)
#define IOCTL_SLOTS	BIT(3)
#define IOCTL_SRCU	BIT(4)
#define IOCTL_UNLOCKED	BIT(5)
#define IOCTL_REGS	BIT(6)
#define IOCTL_FILLS	BIT(7)

/* Set at module load */
extern bool virt_load_for_regs;

/**
 * struct ioctl_row - one ioctl
 * @cmd: the command, size and direction included
 * @flags: IOCTL_*
 * @dev: function of a system ioctl; @data is the kernel's copy of the argument (NULL for
 *	IOCTL_RAW), @raw the argument
 * @vm: the same for VM ioctls
 * @vcpu: the same for vCPU ioctls
 */
struct ioctl_row {
	unsigned int cmd;
	unsigned int flags;
	union {
		long (*dev)(void *data, unsigned long raw);
		long (*vm)(struct virt_vm *vm, void *data, unsigned long raw);
		long (*vcpu)(struct virt_vcpu *v, void *data, unsigned long raw);
	};
};

/**
 * struct ioctl_table - rows of one kind of descriptor, by command number
 * @row: filled by ioctl_table_add(); a few numbers of the ABI serve twice, with other sizes or
 *	directions
 */
struct ioctl_table {
	const struct ioctl_row *row[256][2];
};

/**
 * ioctl_table_add() - add rows at module load
 * @table: where
 * @rows: what
 * @nr: how many
 *
 * Return: 0, or -EINVAL if three rows share a number.
 */
int ioctl_table_add(struct ioctl_table *table, const struct ioctl_row *rows, unsigned int nr);

/**
 * ioctl_find() - row of a command
 * @table: the table
 * @cmd: as userspace gave it
 *
 * Return: the row whose whole command matches, or NULL.
 */
static inline const struct ioctl_row *ioctl_find(const struct ioctl_table *table, unsigned int cmd)
{
	const struct ioctl_row *const *row =
		table->row[array_index_nospec(_IOC_NR(cmd), ARRAY_SIZE(table->row))];

	if (likely(row[0] && row[0]->cmd == cmd))
		return row[0];
	return row[1] && row[1]->cmd == cmd ? row[1] : NULL;
}

/* The argument's copy: small ones live on the dispatcher's stack. */
#define IOCTL_STACK	512

/*
 * ioctl_copy_in() fills or clears what is used of it; the compiler's own clearing of the whole
 * would cost more than most ioctls.
 */
#define IOCTL_STACK_BUFFER(name) u64 name[IOCTL_STACK / sizeof(u64)] __attribute__((__uninitialized__))

/**
 * struct ioctl_buffer - the kernel's copy of an argument
 * @data: the copy, or NULL
 * @heap: to be freed
 */
struct ioctl_buffer {
	void *data;
	void *heap;
};

/*
 * Up to this size an argument is copied by words, in line: the general function costs more than a
 * small ioctl does.
 */
#define IOCTL_SMALL	64

static inline bool ioctl_is_small(unsigned int cmd)
{
	return (_IOC_DIR(cmd) & _IOC_WRITE) && _IOC_SIZE(cmd) <= IOCTL_SMALL &&
	       !(_IOC_SIZE(cmd) % sizeof(u64));
}

static inline int ioctl_copy_small(u64 *to, const u64 __user *from, unsigned int size)
{
	const u64 __user *end = from + size / sizeof(u64);

	if (!user_read_access_begin(from, size))
		return -EFAULT;
	for (; from < end; from++, to++)
		unsafe_get_user(*to, from, fault);
	user_read_access_end();
	return 0;
fault:
	user_read_access_end();
	return -EFAULT;
}

int ioctl_fill(struct ioctl_buffer *b, const struct ioctl_row *row, unsigned long arg, void *stack);

/* Copy in (or zero), copy out, free. */
static inline int ioctl_copy_in(struct ioctl_buffer *b, const struct ioctl_row *row,
				unsigned long arg, void *stack)
{
	b->data = NULL;
	b->heap = NULL;
	if ((row->flags & IOCTL_RAW) || !_IOC_SIZE(row->cmd))
		return 0;
	if (ioctl_is_small(row->cmd)) {
		b->data = stack;
		return ioctl_copy_small(stack, (const u64 __user *)arg, _IOC_SIZE(row->cmd));
	}
	return ioctl_fill(b, row, arg, stack);
}

static inline int ioctl_copy_out(const struct ioctl_buffer *b, const struct ioctl_row *row,
				 unsigned long arg)
{
	if (!b->data || !(_IOC_DIR(row->cmd) & _IOC_READ))
		return 0;
	return copy_to_user((void __user *)arg, b->data, _IOC_SIZE(row->cmd)) ? -EFAULT : 0;
}

static inline void ioctl_free(struct ioctl_buffer *b)
{
	if (b->heap)
		kvfree(b->heap);
}

extern struct ioctl_table dev_ioctls, vm_ioctls, vcpu_ioctls;

#endif
